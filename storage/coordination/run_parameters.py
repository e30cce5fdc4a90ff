"""Parameters of runs as the catalog stores them: paths inside the root begin with `{root}`, wherever the root is.

Equal runs therefore have equal parameters before and after a root is moved, and a crashed run can be resumed in the new
place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from codi2_storage.store import Store
from codi2_storage.uris import ROOT, inside, is_absolute

MARK = "{root}"
FOLDERS = ("out",)  # parameters that are paths even if nothing exists there yet


def portable(store: Store, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a run's parameters to the form that the catalog stores."""

    def kept(name: str, value: str) -> str:
        if name == "root":
            return MARK
        return portable_path(store, value) if name in FOLDERS or is_path(value) else value

    return changed(parameters, kept)


def portable_path(store: Store, path: str) -> str:
    """A path with `{root}` in place of the root if it lies inside the root; otherwise unchanged."""
    name = inside(store, path)
    return path if name is None else MARK if name == ROOT else f"{MARK}/{name}"


def present(store: Store, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert stored parameters to those that the flow takes now."""
    return changed(parameters, lambda name, value: present_path(store, value))


def present_path(store: Store, kept: str) -> str:
    """Convert a stored path to one that can be opened now."""
    return replaced(kept, MARK, store.uri())


def changed(parameters: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """Parameters with `change(name, value)` applied to every string and path."""
    return {
        name: change(name, str(value)) if isinstance(value, str | Path) else value for name, value in parameters.items()
    }


def replaced(value: str, old: str, new: str) -> str:
    """Replace the folder `old` at the beginning of a path by `new`."""
    return new + value[len(old) :] if value == old or value.startswith(f"{old}/") else value


def is_path(value: str) -> bool:
    """Whether a string names a file or folder, rather than a recipe, a checkpoint id or a word."""
    return is_absolute(value) or "/" in value or Path(value).is_file() or (Path(value) / "config.json").is_file()
