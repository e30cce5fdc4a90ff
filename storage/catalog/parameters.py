"""Parameters of runs as the catalog keeps them: paths inside the root begin with `{root}`, whatever place that has.

So equal runs have equal parameters before and after a root is moved, and a crashed one is resumed where the root is now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from codi2_storage.locations.uris import ROOT, inside, is_absolute
from codi2_storage.store import Store

MARK = "{root}"
FOLDERS = ("out",)  # parameters that are paths even where nothing lies there yet


def portable(store: Store, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a run as the catalog of its root keeps them."""

    def kept(name: str, value: str) -> str:
        if name == "root":
            return MARK
        return portable_path(store, value) if name in FOLDERS or is_path(value) else value

    return changed(parameters, kept)


def portable_path(store: Store, path: str) -> str:
    """A path with `{root}` in place of the root where it lies inside."""
    found = inside(store, path)
    return path if found is None else MARK if found == ROOT else f"{MARK}/{found}"


def present(store: Store, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The catalog's parameters as the flow takes them now."""
    return changed(parameters, lambda name, value: present_path(store, value))


def present_path(store: Store, kept: str) -> str:
    """A path that the catalog keeps, as it can be opened now."""
    return replaced(kept, MARK, store.uri())


def without_place(config: str) -> str:
    """A run's parameters in JSON, as `portable` has them. Earlier versions stored the root's own URI, and those inside it."""
    parameters = json.loads(config)
    root = parameters.get("root")
    if not isinstance(root, str) or root == MARK:
        return config
    return json.dumps(changed(parameters, lambda name, value: replaced(value, root, MARK)), sort_keys=True)


def changed(parameters: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """Parameters with every string and path changed; `change` is given the name and the value."""
    return {
        name: change(name, str(value)) if isinstance(value, str | Path) else value for name, value in parameters.items()
    }


def replaced(value: str, old: str, new: str) -> str:
    """A path that begins with the folder `old`, with `new` in its place."""
    return new + value[len(old) :] if value == old or value.startswith(f"{old}/") else value


def is_path(value: str) -> bool:
    """Whether a string names a file or folder, and not a recipe, a checkpoint's id or a word."""
    return is_absolute(value) or "/" in value or Path(value).is_file() or (Path(value) / "config.json").is_file()
