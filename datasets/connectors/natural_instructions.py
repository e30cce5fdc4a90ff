"""Natural Instructions: 1,600 tasks, each with its definition and examples. One JSON file per task.

{Definition: [..], Instances: [{id, input, output: [..]}], Categories, Input_language, ...}. One text row per instance:
[input, first output, task, definition]. Attributes: kind 'icl', task, family, definition, category, language. Option
`instances`: maximum per task, from the first; 0 for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation, InputSplit, Rows
from codi2_datasets.readers.files import PACKED, find, identity, stem
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.results import only_objects, results
from codi2_datasets.readers.values import Bad, known, lines, text
from codi2_datasets.readers.words import family_of, words

LICENCE, AUTHOR = "Apache-2.0", "contributors of Natural Instructions"


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    for file in find(place.path, ("task*.json", "task*.json.gz")):
        keys = [name for name, _ in islice(json_items(file, skip=True), 40)]
        if keys != [-1] and not {"Definition", "Instances"} <= set(keys):
            raise ConnectorError(f"{file}: 'Definition' or 'Instances' is missing; it has: {', '.join(map(str, keys))}")
        yield InputSplit(place, file, identity(file))


def first(value: Any) -> str:
    """The string, or the first of a list of strings."""
    return lines(next(iter(value), None) if isinstance(value, list) else value)


def head(file: str) -> dict[str, str]:
    """The task's metadata, wherever it is in the file."""
    wanted = ("Definition", "Categories", "Input_language")
    return dict.fromkeys(wanted, "") | {str(name): first(value) for name, value in json_items(file, only=wanted)}


def rows(piece: InputSplit) -> Rows:
    task, header = stem(PACKED.sub("", piece.file)), head(piece.file)
    most = int(piece.place.options.get("instances") or 0) or None
    numbered = ((n, entry) for n, (_, entry) in enumerate(islice(json_items(piece.file, "Instances"), most)))
    yield from results(piece, only_objects(numbered), partial(describe, task=task, header=header))


def describe(
    place: CorpusLocation, locator: str, entry: Mapping[str, Any], task: str, header: dict[str, str]
) -> SourceRow | Bad:
    asked, answer = lines(entry.get("input")), first(entry.get("output"))
    if not (asked and answer and header["Definition"]):
        return Bad("no definition, input or output")
    attributes = known(kind="icl", task=task, family=family_of(task, asked), definition=header["Definition"],
                       category=text(header["Categories"]), language=text(header["Input_language"]))  # fmt: skip
    return words(place, locator, [asked, answer, task, header["Definition"]], attributes, LICENCE, AUTHOR)


CONNECTOR = Connector(
    name="natural-instructions",
    version="2",
    description="Natural Instructions: definitions and examples of 1,600 tasks",
    homepage="https://github.com/allenai/natural-instructions",
    licence=LICENCE,
    terms="Apache-2.0; each task's instances are under the terms of the set that they are from.",
    size="1,616 tasks, 5 million instances",
    tasks=("text_icl", "text_instruction", "text_to_media"),
    pieces=pieces,
    results=rows,
    options={"instances": 0},
)
