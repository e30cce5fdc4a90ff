"""Answers on disk, to limit memory and to resume after an interruption."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from codi2_datasets.formats.hashing import digest
from codi2_storage.locations.files import write_whole


class Lazy(Sequence[Any]):
    """A sequence whose items are created on access; a slice is a list."""

    def __init__(self, makers: Sequence[Callable[[], Any]]) -> None:
        self._makers = list(makers)

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [make() for make in self._makers[index]]
        return self._makers[index]()

    def part(self, indices: Sequence[int]) -> Lazy:
        """Some of the items, without creating them."""
        return Lazy([self._makers[index] for index in indices])


def lazy(items: Sequence[Any]) -> Lazy:
    """Any sequence as a lazy one."""
    return items if isinstance(items, Lazy) else Lazy([lambda item=item: item for item in items])  # type: ignore[misc]


class Spool:
    """One file per answer: images as PNG, audio and video as arrays; for a missing answer a text file with the reason."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, key: str) -> bool:
        """Whether a request was processed, with or without an answer."""
        return any((self.folder / f"{digest(key)[:24]}{ending}").exists() for ending in (".png", ".npy", ".txt"))

    def put(self, key: str, value: Any | None, reason: str = "") -> None:
        """Store an answer, or the reason for a missing one."""
        name = digest(key)[:24]
        buffer = io.BytesIO()
        if value is None:
            write_whole(self.folder / f"{name}.txt", reason.encode())
        elif isinstance(value, Image.Image):
            value.save(buffer, "PNG")
            write_whole(self.folder / f"{name}.png", buffer.getvalue())
        else:
            np.save(buffer, value)
            write_whole(self.folder / f"{name}.npy", buffer.getvalue())

    def get(self, key: str) -> Any | None:
        """The answer, or None if it is missing."""
        name = self.folder / digest(key)[:24]
        if name.with_suffix(".png").exists():
            with Image.open(name.with_suffix(".png")) as image:
                return image.convert("RGB")
        return np.load(name.with_suffix(".npy")) if name.with_suffix(".npy").exists() else None

    def has_answer(self, key: str) -> bool:
        """Whether there is an answer, without reading it."""
        return self.has(key) and not (self.folder / f"{digest(key)[:24]}.txt").exists()

    def reason(self, key: str) -> str:
        """The reason for a missing answer, or an empty text."""
        path = self.folder / f"{digest(key)[:24]}.txt"
        return path.read_text("utf-8") if path.exists() else ""
