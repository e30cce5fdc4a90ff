"""Views of the page that another package contributes: browse itself knows of builds, samples and rejects only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from codi2_storage.store import Store


@dataclass(frozen=True)
class ContributedViews:
    """Views with their scripts, routes and content of a static export.

    A script adds a view to `VIEWS` of `app.js`.
    """

    page: Path
    """The folder of the scripts."""
    scripts: tuple[str, ...]
    """In the order in which they are loaded, after those of the page."""
    add_routes: Callable[[FastAPI, str], None]
    """Adds the routes that the scripts ask, for a root."""
    export: Callable[[str, Store], dict[str, Any]]
    """Root, folder of the static export -> the content that the scripts ask for. May write files to the folder."""
