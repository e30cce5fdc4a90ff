"""Options that several commands share, with the checks of their values."""

from __future__ import annotations

import math
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from codi2_model.checkpoints.registry import NamedCheckpoint

AT_LEAST_1 = Number(gte=1)


def positive(kind: Any, value: float | None) -> None:
    """Validator of cyclopts for a finite number above 0. Raises ValueError."""
    if value is not None and not 0 < value < math.inf:
        raise ValueError("must be a number above 0")


CPUS = os.cpu_count() or 1
DEFAULT_ROOT = "./data"


def print_model(model: NamedCheckpoint) -> None:
    """Print the model that a command uses to standard error. Call it after all options are checked."""
    print(f"model: {model.name} ({model.folder})", file=sys.stderr)


def check_folder(kind: Any, value: str | None) -> None:
    """Validator of cyclopts for a folder that exists or can be created. Raises ValueError."""
    from codi2_storage.store import Store

    if value is None:
        return
    if not value.strip():
        raise ValueError("must not be empty: give a folder or a URI")
    path = Store(value).local_path("")  # raises for an unknown scheme
    if path is None:
        return
    existing = next(folder for folder in (Path(path), *Path(path).parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise ValueError(
            f"{existing} is a file: give a folder"
            if existing.exists()
            else f"{existing} is a broken link: give a folder"
        )


@cache
def shipped_names(package_folder: str) -> str:
    """The names of the YAML files in a folder of the package, separated by commas. They are found without an import."""
    from importlib.util import find_spec

    package, _, folder = package_folder.partition("/")
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    files = [file for base in spec.submodule_search_locations for file in (Path(base) / folder).glob("*.yaml")]
    return ", ".join(sorted({file.stem for file in files}))


Root = Annotated[
    str, Parameter(help="Root: folder or fsspec URI with media, shards, runs and catalog.", validator=check_folder)
]
Workers = Annotated[int, Parameter(help="Number of parallel Ray tasks.", validator=AT_LEAST_1)]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Limit = Annotated[int | None, Parameter(validator=AT_LEAST_1)]
Overrides = Annotated[list[str] | None, Parameter(name="--set", negative="")]
Build = Annotated[
    str | None, Parameter(help="Build: its id, the first characters of it, or `latest`. Default: the latest.")
]
BUILD = "Build: its id, the first characters of it, or `latest`."
RECIPES = f"Recipe file, or a shipped recipe: {shipped_names('codi2_datasets/recipes')}."
CONFIGS = f"Training config file, or a shipped config: {shipped_names('codi2_model/presets')}."
