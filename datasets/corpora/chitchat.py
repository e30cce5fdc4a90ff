"""Chitchat: dialogues between students, from the BYU PCC lab's Chit-Chat Challenge.

One row per dialogue. The payload is a JSON list of turns, in which the two speakers alternate; consecutive messages of
one speaker are one turn, a line each. Speakers and times are left out. Attributes: family (the dialogue's own id,
because it shares nothing with others), kind 'dialogue', turns (their number).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

MIN_TURNS = 2


@dataclass(frozen=True)
class Chitchat:
    name: str = "chitchat"
    version: str = "1"
    source: str = "pypi:chitchat-dataset==0.9.0"
    companions: tuple[str, ...] = ()
    licence: str = "MIT"
    description: str = "Dialogues between students about everyday things"
    tasks: tuple[str, ...] = ("text_instruction",)
    size: str = "7,168 dialogues, 8 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        file = "chitchat_dataset/dataset.json"
        dialogues = json.loads((package / file).read_text(encoding="utf-8"))
        for key in sorted(dialogues):
            locator = f"{file}#{key}"
            turns = join_turns(dialogues[key]["messages"])
            if len(turns) < MIN_TURNS:
                yield RejectedRow(self.name, locator, f"fewer than {MIN_TURNS} turns")
                continue
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality="text",
                payload=json.dumps(turns, ensure_ascii=False),
                media_type="application/json",
                licence=self.licence,
                author="BYU PCC lab",
                caption="",
                attributes={"family": f"chitchat {key}", "kind": "dialogue", "turns": len(turns)},
            )


def join_turns(messages: list[list[dict[str, str]]]) -> list[str]:
    """One string per turn of grouped messages: empty ones are dropped, consecutive ones of one speaker joined."""
    turns: list[tuple[str, list[str]]] = []
    for message in (message for turn in messages for message in turn):
        text = " ".join(message["text"].split())
        if not text:
            continue
        if turns and turns[-1][0] == message["sender"]:
            turns[-1][1].append(text)
        else:
            turns.append((message["sender"], [text]))
    return ["\n".join(lines) for _, lines in turns]


CORPUS = Chitchat()
