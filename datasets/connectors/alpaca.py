"""Alpaca: instructions and answers that a language model wrote. JSON list or Parquet (instruction, input, output).

One text row each: [instruction with its input, output]. Attributes: kind 'instruction', family.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import texts
from codi2_datasets.readers.base import Connector, CorpusLocation
from codi2_datasets.readers.values import Bad, lines
from codi2_datasets.readers.words import family_of, words

LICENCE, AUTHOR = "CC-BY-NC-4.0", "Stanford CRFM"
NO_ANSWER = ("<nooutput>", "<no output>")  # the model's output if it had no answer


def describe(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> SourceRow | Bad:
    instruction, context, answer = (lines(row.get(name)) for name in ("instruction", "input", "output"))
    if not instruction or not answer or answer.lower() in NO_ANSWER:
        return Bad("no answer" if instruction else "no instruction")
    asked = f"{instruction}\n\n{context}" if context else instruction
    attributes = {"kind": "instruction", "family": family_of(instruction)}
    return words(place, locator, [asked, answer], attributes, LICENCE, AUTHOR)


CONNECTOR = Connector(
    name="alpaca",
    version="2",
    description="Alpaca: instructions and answers written by a language model",
    homepage="https://github.com/tatsu-lab/stanford_alpaca",
    licence=LICENCE,
    terms="CC-BY-NC-4.0, and OpenAI's terms of use.",
    size="52 thousand instructions",
    tasks=("text_instruction", "text_to_media"),
    pieces=partial(texts.pieces, fields=(("instruction",), ("output",))),
    results=partial(texts.rows, describe=describe),
)
