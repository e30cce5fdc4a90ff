"""The head and the stylesheet that the web pages share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

STYLE = Path(__file__).parent / "page" / "style.css"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{tags}
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{folder}style.css">
</head>
{body}</html>
"""


def html(title: str, body: Path, tags: Iterable[str], folder: str = "") -> str:
    """A page with the body of the file. `tags`: its scripts and other elements of the head; `folder`: of the stylesheet."""
    return PAGE.format(title=title, tags="\n".join(tags), folder=folder, body=body.read_text(encoding="utf-8"))
