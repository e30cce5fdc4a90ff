"""What the commands share: options that many take, checked as they are read; tables on standard output."""

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
    """Seconds and the like: neither 0 nor below, nor no number. For cyclopts: raises ValueError."""
    if value is not None and not 0 < value < math.inf:
        raise ValueError("a number above 0 is wanted")


CPUS = os.cpu_count() or 1
DEFAULT_ROOT = "./data"


def print_model(found: NamedCheckpoint) -> None:
    """Which model a command uses, on standard error: once all that was given is known to be right."""
    print(f"model: {found.name} ({found.folder})", file=sys.stderr)


def check_folder(kind: Any, value: str | None) -> None:
    """A folder that is there or can be made: no file, and nothing below a file. For cyclopts: raises ValueError."""
    from codi2_storage.store import Store

    if value is None:
        return
    if not value.strip():
        raise ValueError("the name of a folder is wanted")
    path = Store(value).local_path("")  # raises for a scheme that nothing here knows
    if path is None:
        return
    there = next(folder for folder in (Path(path), *Path(path).parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise ValueError(
            f"{there} is a file, where a folder is wanted" if there.exists() else f"{there}: a broken link"
        )


def names(package_folder: str) -> str:
    """What ships in a folder of this program, by name: `recipes` of the datasets, `presets` of the model."""
    return ", ".join(shipped(package_folder))


@cache
def shipped(package_folder: str) -> list[str]:
    from importlib.util import find_spec

    package, _, folder = package_folder.partition("/")
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    found = [file for base in spec.submodule_search_locations for file in (Path(base) / folder).glob("*.yaml")]
    return sorted(file.stem for file in found)


Root = Annotated[str, Parameter(help="Folder or fsspec URI that holds everything.", validator=check_folder)]
Workers = Annotated[int, Parameter(help="Ray tasks at once.", validator=AT_LEAST_1)]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Limit = Annotated[int | None, Parameter(validator=AT_LEAST_1)]
Build = Annotated[
    str | None, Parameter(help="Dataset version: an id, its beginning, or latest; the latest if left out.")
]
RECIPES = f"Recipe file, or the name of a shipped one: {names('codi2_datasets/recipes')}."
CONFIGS = f"Training config file, or the name of a shipped one: {names('codi2_model/presets')}."
