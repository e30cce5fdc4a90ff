"""Web page to browse builds: `server` serves it from the catalog, `static_export` writes it as a folder.

`view` queries the catalog; the page in `page/` displays the results and never executes the content of captions.
"""
