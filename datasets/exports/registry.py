"""Registry of export formats."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from codi2_datasets.exports.base import Format


@cache
def formats() -> dict[str, Format]:
    """All formats, by name."""
    folder = import_module("codi2_datasets.exports").__path__
    modules = [import_module(f"codi2_datasets.exports.{info.name}") for info in iter_modules(folder)]
    registered = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {item.name: item for item in sorted(registered, key=lambda item: item.name)}
