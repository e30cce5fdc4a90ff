"""Templates: the phrasings of a task.

A template is a list of turns, user first, in which `{word}` stands for a word of the candidate, `[slot]` for one of its
media or texts, and `<demo>…</demo>` for text that is repeated for each demonstration:

>>> Template("<demo>[demo_in] became [demo_out]. </demo>Do the same to [query].", "[target]")
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codi2_storage.errors import nearest_hint

PIECE = re.compile(r"\[([a-z0-9_]+)\]")
WORD = re.compile(r"\{([a-z0-9_]+)\}")
DEMO = re.compile(r"<demo>(.*?)</demo>", re.S)
STRAY = re.compile(r"\[[^\[\]]*\]?|\{[^{}]*\}?|[\]}]|</?demo>")  # anything that looks like a mark but is none


class TemplateError(ValueError):
    """A template has a mark that no candidate provides. The message names the template, the mark and the known ones."""


@dataclass(frozen=True, init=False)
class Template:
    """Turns of a conversation. `kind`: the candidates it is for ('' for those without a kind)."""

    turns: tuple[str, ...]
    kind: str

    def __init__(self, *turns: str, kind: str = "") -> None:
        object.__setattr__(self, "turns", turns)
        object.__setattr__(self, "kind", kind)

    @property
    def shows_demos(self) -> bool:
        return any(DEMO.search(turn) for turn in self.turns)


def phrasings(said: Mapping[str, Iterable[Sequence[str]]]) -> tuple[Template, ...]:
    """The templates of each kind, from their turns."""
    return tuple(Template(*turns, kind=kind) for kind, listed in said.items() for turns in listed)


@dataclass(frozen=True)
class TemplatePart:
    """Text or one slot, at its position in the sample."""

    position: int
    turn: int
    role: str
    text: str | None
    slot: str | None
    icl_role: str | None
    target: bool


def pieces(template: Template, demos: int = 0) -> list[TemplatePart]:
    """The template expanded for a number of demonstrations."""
    parts: list[TemplatePart] = []
    for turn, text in enumerate(template.turns):
        role = "user" if turn % 2 == 0 else "assistant"
        expanded = DEMO.sub(lambda match: "".join(numbered(match[1], n + 1) for n in range(demos)), text)
        for content, slot in split(expanded):
            target = role == "assistant"
            parts.append(TemplatePart(len(parts), turn, role, content, slot, icl_role(slot, target), target))
    return parts


def numbered(text: str, n: int) -> str:
    return PIECE.sub(lambda match: f"[{match[1].replace('demo', f'demo{n}', 1)}]", text)


def split(text: str) -> Iterator[tuple[str | None, str | None]]:
    """(text, None) and (None, slot), in order; empty text is left out."""
    for index, part in enumerate(PIECE.split(text)):
        if index % 2:
            yield None, part
        elif part:
            yield part, None


def icl_role(slot: str | None, target: bool) -> str | None:
    if slot is None:
        return "target" if target else None
    if slot.startswith("demo"):
        return "demo_input" if slot.endswith("_in") else "demo_output"
    return "target" if target else "query"


def check_names(
    parts: Iterable[tuple[str | None, str | None]], words: Collection[str], slots: Collection[str], where: str
) -> None:
    """Check that all words in braces and slots of these parts (text, slot) are known, and no bracket is stray.

    Raises TemplateError.
    """
    for text, slot in parts:
        if slot is not None and slot not in slots:
            raise unknown(f"[{slot}]", words, slots, where)
        for name in WORD.findall(text or ""):
            if name not in words:
                raise unknown(f"{{{name}}}", words, slots, where)
        if stray := STRAY.search(WORD.sub("", text or "")):
            raise unknown(stray[0][:40], words, slots, where)


def unknown(mark: str, words: Collection[str], slots: Collection[str], where: str) -> TemplateError:
    known = [*(f"[{name}]" for name in slots), *(f"{{{name}}}" for name in words)]
    what = "word" if mark[0] in "{}" else "slot"
    return TemplateError(f"{where}: {mark} names no {what}{nearest(mark.lower(), known)}")


def nearest(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, and all of them."""
    return f"{nearest_hint(name, known) or '.'} There are {', '.join(known) or 'none'}"
