"""Dolly: instructions and answers that people wrote. JSON lines (instruction, context, response, category).

One text row each: [instruction with its context, response]. Attributes: kind 'instruction', family, category.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import texts
from codi2_datasets.readers.base import Connector, CorpusLocation
from codi2_datasets.readers.values import Bad, known, lines, text
from codi2_datasets.readers.words import family_of, words

LICENCE, AUTHOR = "CC-BY-SA-3.0", "Databricks"


def describe(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> SourceRow | Bad:
    instruction, context, answer = (lines(row.get(name)) for name in ("instruction", "context", "response"))
    if not instruction or not answer:
        return Bad("no answer" if instruction else "no instruction")
    asked = f"{instruction}\n\n{context}" if context else instruction
    attributes = known(kind="instruction", family=family_of(instruction), category=text(row.get("category")))
    return words(place, locator, [asked, answer], attributes, LICENCE, AUTHOR)


CONNECTOR = Connector(
    name="dolly",
    version="2",
    description="Dolly: instructions and answers written by people",
    homepage="https://huggingface.co/datasets/databricks/databricks-dolly-15k",
    licence=LICENCE,
    terms="CC-BY-SA-3.0.",
    size="15 thousand instructions",
    tasks=("text_instruction", "text_to_media"),
    pieces=partial(texts.pieces, fields=(("instruction",), ("response",))),
    results=partial(texts.rows, describe=describe),
)
