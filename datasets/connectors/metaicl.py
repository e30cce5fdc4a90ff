"""MetaICL and CrossFit: examples of many text tasks. JSON lines (task, input, output, options), or TSV (input, output).

One text row per example: [input, output, task]. Attributes: kind 'icl', task, family, options. The files of one task
differ in their number of examples and seed: repeated examples are rejected as duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.files import PACKED, find, has_ending, stem
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.results import results
from codi2_datasets.readers.tables import sliced, slices
from codi2_datasets.readers.values import Bad, Numbered, known, lines, need_fields, string, text
from codi2_datasets.readers.words import family_of, words

LICENCE, AUTHOR = "LicenseRef-CrossFit", "the makers of the tasks, collected by MetaICL and CrossFit"
DRAW = re.compile(r"(_\d+_\d+)?_(train|dev|test)$")


def read(file: str) -> Numbered:
    """If a TSV row has several outputs, the first one is used."""
    if not has_ending(file, ".tsv"):
        yield from json_rows(file)
        return
    task = DRAW.sub("", stem(PACKED.sub("", file)))
    for n, row in delimited_rows(file, "\t", ("input", "output"), quoted=False, extra=True):
        yield n, {**row, "task": task} if isinstance(row, dict) else row


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    files = find(place.path, ("*.jsonl", "*.jsonl.gz", "*.tsv", "*.tsv.gz"))
    for file in files:
        need_fields(file, read(file), ("task",), ("input",), ("output",))
    yield from slices(place, files, read)


def describe(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> SourceRow | Bad:
    task, asked, answer = text(row.get("task")), lines(row.get("input")), lines(row.get("output"))
    if not (task and asked and answer):
        return Bad("no task, input or output")
    options = row.get("options")
    choices = [text(string(item)) for item in options if text(string(item))] if isinstance(options, list) else None
    attributes = known(kind="icl", task=task, family=family_of(task, asked), options=choices)
    return words(place, locator, [asked, answer, task], attributes, LICENCE, AUTHOR)


def rows(piece: InputSplit) -> Rows:
    return results(piece, sliced(piece, read(piece.file)), describe)


CONNECTOR = Connector(
    name="metaicl",
    version="2",
    description="MetaICL and CrossFit: examples of 142 tasks in words",
    homepage="https://github.com/facebookresearch/MetaICL",
    licence=LICENCE,
    terms="The collection is CC-BY-NC-4.0; each task is under the terms of its own set.",
    size="142 tasks",
    tasks=("text_icl", "text_to_media"),
    pieces=pieces,
    results=rows,
)
