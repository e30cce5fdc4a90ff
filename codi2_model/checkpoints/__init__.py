"""Checkpoints: hashing, loading and saving, the registry in the catalog, export in bfloat16, reproduction."""
