"""Documentation of a published build: attribution, metadata, dataset card and plots.

Everything is read from the build's tables, and nothing from the clock or the machine: the same build gives the same
bytes. The files belong in `builds/<id>/`, and their paths are relative to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from codi2_datasets.publishing.attribution import attribution
from codi2_datasets.publishing.card import card
from codi2_datasets.publishing.croissant import croissant
from codi2_datasets.publishing.plots import plots
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Manifest, committed
from codi2_storage.store import Store

__all__ = ["attribution", "card", "croissant", "describe", "describe_build", "plots"]


def describe(connection: duckdb.DuckDBPyConnection, build_id: str, files: Sequence[Manifest] = ()) -> dict[str, bytes]:
    """The files of one build by their path in its folder.

    `connection` is the catalog's on that build. `files` are the manifests of its commit: with them the metadata names
    the tables' files and their hashes, so that records can be loaded with it.
    """
    return {
        "ATTRIBUTION": attribution(connection).encode(),
        "README.md": card(connection, build_id).encode(),
        "croissant.json": croissant(connection, build_id, files),
        **{f"plots/{name}": image for name, image in plots(connection).items()},
    }


def describe_build(store: Store, build_id: str) -> None:
    """Write the documentation of a published build if it is not there yet."""
    commit = committed(store, build_id, "build")
    if commit is None or store.exists(f"builds/{build_id}/ATTRIBUTION"):
        return
    with Catalog(store).connect(build_id) as connection:
        files = describe(connection, build_id, commit.files)
    for name in sorted(files, key=lambda name: name == "ATTRIBUTION"):  # last, to mark that all files are there
        store.write_bytes(f"builds/{build_id}/{name}", files[name])
