"""Files of an export: written through a local file, so that no split is held in memory, and put in place whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from codi2_storage.store import Store, explained


@contextmanager
def whole_file(store: Store, name: str) -> Iterator[Path]:
    """A local path to write to; what is there at the end becomes `name`, or nothing does."""
    target = store.local_path(name)
    folder = Path(target).parent if target else Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(suffix=".part", dir=folder)
    os.close(handle)
    try:
        yield Path(path)
        if target:
            os.replace(path, target)
        else:
            store.fs.put_file(path, store.path(name))
    except OSError as error:
        raise explained(error, target or store.uri(name)) from error
    finally:
        Path(path).unlink(missing_ok=True)


@contextmanager
def local_copy(store: Store, name: str) -> Iterator[Path]:
    """A file of the store as a local one."""
    target = store.local_path(name)
    if target:
        yield Path(target)
        return
    with tempfile.NamedTemporaryFile() as file, store.open_read(name) as source:
        shutil.copyfileobj(source, file)
        file.flush()
        yield Path(file.name)


class TextFiles:
    """A text file for each split, opened when first written to, all put in place together."""

    def __init__(self, store: Store, pattern: str, opening: str, closing: str, separator: str) -> None:
        self.store, self.pattern = store, pattern
        self.opening, self.closing, self.separator = opening, closing, separator
        self.open: dict[str, tuple[IO[str], Path]] = {}

    def add(self, split: str, text: str) -> None:
        if split not in self.open:
            handle, path = tempfile.mkstemp(suffix=".part")
            file = os.fdopen(handle, "w", encoding="utf-8")
            file.write(self.opening + text)
            self.open[split] = file, Path(path)
        else:
            self.open[split][0].write(self.separator + text)

    def __enter__(self) -> TextFiles:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for split, (file, path) in self.open.items():
            file.write(self.closing)
            file.close()
            if kind is None:
                with whole_file(self.store, self.pattern.format(split=split)) as target:
                    shutil.copyfile(path, target)
            path.unlink()
