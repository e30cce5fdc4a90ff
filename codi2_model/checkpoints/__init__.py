"""Checkpoints: hashing, loading, the registry in the catalog, export in bfloat16, reproduction."""
