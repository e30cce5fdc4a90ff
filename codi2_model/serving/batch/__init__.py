"""Batch generation: request files in, shards of samples and pages out."""
