"""Training data: shards as a table, the task mixture, batches of each stage."""
