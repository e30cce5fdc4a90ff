"""What connectors share: files over fsspec, tables, JSON, tars, folders of media. No file here is a connector."""
