"""A page to look at a build: `server` serves it from the catalog, `static_export` writes it as a folder.

`view` asks the catalog; the page in `page/` draws what it answers and never runs what a caption says.
"""
