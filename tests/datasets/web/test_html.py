"""The head and the stylesheet that the web pages share."""

from __future__ import annotations

import re

from codi2_datasets.browse.server import index_page
from codi2_datasets.web.html import STYLE
from codi2_model.serving.http import api


def test_both_pages_have_one_head_and_one_stylesheet() -> None:
    heads = [page.partition("<body")[0] for page in (index_page(None), api.index_page())]
    same = [re.sub(r"<script.*?</script>\n|<title>.*?</title>\n|page/(?=style.css)", "", head) for head in heads]
    assert same[0] == same[1] and "viewport" in same[0] and "style.css" in same[0]


def test_the_chat_serves_the_stylesheet_and_no_file_that_is_not_of_the_page() -> None:
    assert api.page_files()["style.css"] == STYLE
    assert {"app.js", "examples/examples.json"} <= set(api.page_files()) and STYLE.is_file()
