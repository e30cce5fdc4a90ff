"""Registry of the parts that a file or an installed package adds: corpora, operators, tasks, exports, decoders, suites and others.

A part is an object of a module in the folder of its kind (`datasets/corpora/NAME.py` with `CORPUS`), or an entry point of an
installed package in the group of that kind:

    [project.entry-points."codi2.corpora"]
    birds = "my_package.birds:CORPUS"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any


class PluginError(ValueError):
    """A part cannot be loaded, or two parts have one name; the message names where they come from."""


@dataclass(frozen=True)
class Kind:
    """A kind of part. `name` is that of its folder and, after `codi2.`, of its group of entry points.

    attribute: the name of a part in its module; several: the name of a tuple of parts. key: the attribute of a part that is its
    name. required: every module of the folder defines a part.
    """

    name: str
    package: str
    attribute: str
    several: str = ""
    key: str = "name"
    required: bool = False

    def parts(self) -> dict[str, Any]:
        """All parts of this project and of installed packages, sorted by name. Raises PluginError."""
        return {name: part for name, (part, _) in self._located().items()}

    def origins(self) -> dict[str, str]:
        """Name of each part -> the module or the installed package that it comes from."""
        return {name: origin for name, (_, origin) in self._located().items()}

    def _located(self) -> dict[str, tuple[Any, str]]:
        located: dict[str, tuple[Any, str]] = {}
        for part, origin in self._all():
            name = getattr(part, self.key, None)
            if not isinstance(name, str):
                raise PluginError(f"{origin}: {self.attribute} has no '{self.key}'")
            if name in located:
                raise PluginError(f"{self.name}: two parts are named '{name}', in {located[name][1]} and in {origin}")
            located[name] = part, origin
        return dict(sorted(located.items()))

    def _all(self) -> Iterator[tuple[Any, str]]:
        for name in modules(self.package):
            module = import_module(name)
            several = getattr(module, self.several, None) if self.several else None
            single = getattr(module, self.attribute, None)
            if self.required and several is None and single is None:
                raise PluginError(f"{name}: defines no {self.attribute}")
            yield from ((part, name) for part in (several or ([] if single is None else [single])))
        for point in self.entry_points():
            loaded = load(point)
            yield from ((part, origin(point)) for part in (loaded if isinstance(loaded, tuple | list) else [loaded]))

    def entry_points(self) -> list[EntryPoint]:
        """The entry points of installed packages, sorted by name."""
        return sorted(entry_points(group=f"codi2.{self.name}"), key=lambda point: (point.name, point.value))


@dataclass(frozen=True)
class LazyKind(Kind):
    """A kind whose parts take seconds to import. A part has the name of its module or entry point, and is loaded on use."""

    def names(self) -> list[str]:
        """Names of all parts, which are not imported."""
        return sorted(self._points())

    def part(self, name: str) -> Any:
        """Import a part. Raises PluginError for an unknown name."""
        points = self._points()
        if name not in points:
            raise PluginError(f"unknown {self.name} '{name}', expected one of {', '.join(sorted(points))}")
        return load(points[name])

    def origins(self) -> dict[str, str]:
        return {name: origin(point) for name, point in sorted(self._points().items())}

    def _points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for module in modules(self.package):
            name = module.rpartition(".")[2]
            points[name] = EntryPoint(name, f"{module}:{self.attribute}", f"codi2.{self.name}")
        for point in self.entry_points():
            if point.name in points:
                places = f"{origin(points[point.name])} and in {origin(point)}"
                raise PluginError(f"{self.name}: two parts are named '{point.name}', in {places}")
            points[point.name] = point
        return points


def modules(package: str) -> list[str]:
    """Full names of the modules in a package's folder, without packages within it."""
    path = import_module(package).__path__
    return [f"{package}.{info.name}" for info in iter_modules(path) if not info.ispkg]


def load(point: EntryPoint) -> Any:
    """Import the object of an entry point. Raises PluginError with the name of the package."""
    try:
        return point.load()
    except Exception as error:
        raise PluginError(f"{origin(point)}: {point.value} cannot be loaded: {error}") from error


def origin(point: EntryPoint) -> str:
    """The installed package of an entry point with its version, or the module of a part of this project."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.module
