"""Captions, tables and fetched media, as published corpora lay them out."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from making import jpeg, tar

THINGS = ("a red ball on the grass", "a boat by the sea", "a dog in the park", "a house on a hill", "a bird in the sky",
          "a car on the road", "a tree in winter", "a horse in a field")  # fmt: skip


def caption(n: int) -> str:
    return f"{THINGS[n % len(THINGS)]}, picture {n}"


def hub_image(n: int | None, **changes: Any) -> dict[str, Any] | None:
    return None if n is None else {"bytes": jpeg(n, **changes), "path": f"{n}.jpg"}


def parquet(path: Path, rows: list[dict[str, Any]], group: int = 6, schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=group)
    return path


def table(rows: list[list[Any]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[call-overload]
    return buffer.getvalue()


def fetched(path: Path, rows: list[tuple[str, bytes, dict[str, Any]]], failed: int = 0, ending: str = "jpg") -> None:
    """A tar as img2dataset writes it, and the Parquet beside it with the status of all."""
    members: list[tuple[str, bytes | str | dict]] = []
    status = []
    for n, (url, data, told) in enumerate(rows):
        key = f"{path.stem}{n:04d}"
        record = {"key": key, "url": url, "status": "success", "error_message": None, "width": 96, "height": 72, **told}
        members += [(f"{key}.{ending}", data), (f"{key}.json", record), (f"{key}.txt", str(told.get("caption") or ""))]
        status.append({"key": key, "url": url, "status": "success", "error_message": None})
    for n in range(failed):
        key = f"{path.stem}{len(rows) + n:04d}"
        status.append({"key": key, "url": "http://gone.example/x", "status": "failed_to_download",
                       "error_message": "HTTP Error 404: Not Found"})  # fmt: skip
    tar(path, members)
    parquet(path.with_suffix(".parquet"), status)
