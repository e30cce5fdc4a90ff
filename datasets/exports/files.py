"""Files of an export: written to a local file first, so that no split is held in memory, then moved into place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from codi2_storage.locations.files import replacing
from codi2_storage.store import Store, explained


@contextmanager
def whole_file(store: Store, name: str) -> Iterator[Path]:
    """A local path to write to; on a clean exit its content becomes `name`, after an error nothing does."""
    target = store.local_path(name)
    try:
        if target:
            with replacing(Path(target)) as path:
                yield path
            return
        with tempfile.NamedTemporaryFile(suffix=".part") as file:
            yield Path(file.name)
            store.fs.put_file(file.name, store.path(name))
    except OSError as error:
        raise explained(error, target or store.uri(name)) from error


@contextmanager
def local_copy(store: Store, name: str) -> Iterator[Path]:
    """A file of the store as a local file."""
    target = store.local_path(name)
    if target:
        yield Path(target)
        return
    with tempfile.NamedTemporaryFile() as file, store.open_read(name) as source:
        shutil.copyfileobj(source, file)
        file.flush()
        yield Path(file.name)


class TextFiles:
    """One text file per split, opened at the first write, all moved into place together."""

    def __init__(self, store: Store, pattern: str, opening: str, closing: str, separator: str) -> None:
        self.store, self.pattern = store, pattern
        self.opening, self.closing, self.separator = opening, closing, separator
        self.open: dict[str, IO[str]] = {}

    def add(self, split: str, text: str) -> None:
        if split not in self.open:
            self.open[split] = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115  (closed in __exit__)
            self.open[split].write(self.opening + text)
        else:
            self.open[split].write(self.separator + text)

    def __enter__(self) -> TextFiles:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for split, file in self.open.items():
            with file:
                if kind is not None:
                    continue
                file.write(self.closing)
                file.seek(0)
                with (
                    whole_file(self.store, self.pattern.format(split=split)) as target,
                    target.open("w", encoding="utf-8", newline="") as copy,
                ):
                    shutil.copyfileobj(file, copy)
