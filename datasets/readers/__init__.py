"""Shared readers of connectors: files over fsspec, tables, JSON, tars, media folders. No file here is a connector."""
