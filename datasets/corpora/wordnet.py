"""WordNet: common words with their definitions. One row per synset, modality text, payload JSON [word, definition].

A synset is read if one of its words occurs in the running text tagged by WordNet's authors (cntlist.rev), or if it is
the first meaning of a noun for a visible thing, and that noun is used to define other words: the tagged text has no
giraffe, but everyone knows the word. The word of the row is the synset's most frequently tagged one. Attributes:
concept (the word), family (the word in lower case, shared by all its senses), kind 'definition', pos (noun, verb,
adjective), lexname ('noun.animal'), synonyms, tagged (frequency of the sense); if they exist hypernym (its first word),
antonym and example.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow

FOLDER = "usr/share/wordnet"
FILES = {"noun": "noun", "verb": "verb", "adj": "adjective"}  # data.noun, ... -> pos
OF_SENSE_KEY = {"1": "noun", "2": "verb", "3": "adj", "5": "adj"}  # 5 is an adjective satellite
LEXNAMES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip # by number, as lexnames(5WN) lists them
VISIBLE = ("noun.animal", "noun.artifact", "noun.body", "noun.food", "noun.object", "noun.plant")
MIN_USES = 3  # in definitions and examples, to count as known
MIN_WORDS = 3  # of a definition
INFLECTION = 3  # maximum number of letters that a form of a word has more than the word
COARSE = re.compile(
    r"\b(obscene|vulgar|slur|offensive (?:term|name|word)|derogatory|disparaging|slang for|slang term|sexual\w*|genital\w*"
    r"|copulat\w*|prostitut\w*|masturbat\w*|rape|fornicat\w*|whore|lewd|urine|urinat\w*|excrement|feces|defecat\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Synset:
    file: str
    """noun, verb or adj."""
    offset: str
    """Byte offset of its line in the file, eight digits; serves as its name."""
    lexname: str
    words: tuple[str, ...]
    pointers: tuple[tuple[str, str, str, str], ...]
    """Symbol, offset, pos letter, and four hexadecimal digits: numbers of the source word and of the target word."""
    gloss: str

    @property
    def locator(self) -> str:
        return f"{FOLDER}/data.{self.file}#{self.offset}"

    def targets(self, symbol: str) -> list[tuple[str, str, str, str]]:
        return [pointer for pointer in self.pointers if pointer[0] == symbol]


@dataclass(frozen=True)
class Words:
    """Statistics of the words of one file."""

    index: dict[str, list[str]]
    """Lemma in lower case -> offsets of its synsets, most usual sense first."""
    uses: Counter[str]
    """How often each is used in definitions and examples, over all files."""
    also_other: frozenset[str]
    """Words that running text uses as verbs or adjectives: their uses give no evidence for the noun."""

    def is_usual(self, word: str, synset: Synset) -> bool:
        return self.index[lemma(word)][0] == synset.offset

    def is_known(self, word: str) -> bool:
        return self.uses[word.lower()] >= MIN_USES


@dataclass(frozen=True)
class WordNet:
    name: str = "wordnet"
    version: str = "1"
    source: str = "deb:wordnet-base"
    companions: tuple[str, ...] = ()
    licence: str = "WordNet"
    description: str = "English words and their definitions"
    tasks: tuple[str, ...] = ("text_icl", "text_instruction")
    size: str = "16,748 definitions, 5 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        folder = package / FOLDER
        counts = read_counts(folder)
        synsets = {file: read_synsets(folder, file) for file in FILES}
        uses = Counter(word for group in synsets.values() for s in group.values() for word in tokens(s.gloss))
        also_other = frozenset(word for file, word, _ in counts if file != "noun")
        for file, group in synsets.items():
            words = Words(read_index(folder, file), uses, also_other)
            tagged = sense_counts(words.index, counts, file)
            for synset in group.values():
                chosen = best_word(synset, tagged, words) or known_thing(synset, words)
                if chosen is None:
                    continue
                word, count = chosen
                definition, examples = split_gloss(synset.gloss)
                if reason := unfit(word, definition, synset):
                    yield RejectedRow(self.name, synset.locator, reason)
                else:
                    fitting = [text for text in examples if shows(word, text)]
                    more = {"tagged": count} | related(synset, word, synsets)
                    yield self.row(synset, word, definition, more | ({"example": fitting[0]} if fitting else {}))

    def row(self, synset: Synset, word: str, definition: str, more: dict[str, Any]) -> SourceRow:
        synonyms = [other for other in synset.words if other != word]
        attributes = {"concept": word, "family": word.lower(), "kind": "definition", "pos": FILES[synset.file]}
        return SourceRow(
            corpus=self.name,
            locator=synset.locator,
            modality="text",
            payload=json.dumps([word, definition], ensure_ascii=False),
            media_type="application/json",
            licence=self.licence,
            author="Princeton University",
            caption="",
            attributes={**attributes, "lexname": synset.lexname, "synonyms": synonyms, **more},
        )


# --- the files, as wndb(5WN) describes them ----------------------------------------------------------------------


def read_counts(folder: Path) -> dict[tuple[str, str, int], int]:
    """(file, lemma in lower case, number of the sense) -> frequency in tagged text."""
    counts = {}
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, number, count = line.split()
        lemma, _, sense = key.rpartition("%")
        if sense[0] in OF_SENSE_KEY:
            counts[OF_SENSE_KEY[sense[0]], lemma, int(number)] = int(count)
    return counts


def read_index(folder: Path, file: str) -> dict[str, list[str]]:
    """Lemma in lower case -> offsets of its synsets, most usual sense first."""
    index = {}
    for line in data_lines(folder / f"index.{file}"):
        lemma, _, senses, pointers, *rest = line.split()
        index[lemma] = rest[int(pointers) + 2 :]
        assert len(index[lemma]) == int(senses)
    return index


def read_synsets(folder: Path, file: str) -> dict[str, Synset]:
    """Offset -> synset, in the order of the file."""
    synsets = {}
    for line in data_lines(folder / f"data.{file}"):
        head, _, gloss = line.partition(" | ")
        offset, lexname, _, count, *fields = head.split()
        end = 2 * int(count, 16)
        words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[:end:2]]  # 'galore(ip)'
        numbers = fields[end + 1 : end + 1 + 4 * int(fields[end])]
        pointers = tuple((a, b, c, d) for a, b, c, d in zip(*[iter(numbers)] * 4, strict=True))
        synsets[offset] = Synset(file, offset, LEXNAMES[int(lexname)], tuple(words), pointers, gloss.strip())
    return synsets


def data_lines(path: Path) -> Iterator[str]:
    """The lines of a file after its licence, whose lines start with blanks."""
    return (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(" "))


def split_gloss(gloss: str) -> tuple[str, list[str]]:
    """The definition, and the examples, which follow it in quotation marks."""
    definition, mark, examples = gloss.partition('; "')
    return definition.strip().rstrip(";:").removesuffix("e.g.").rstrip(",;: "), re.findall(
        r'"([^"]+)"', mark + examples
    )


# --- selection of synsets ---------------------------------------------------------------------------------------------


def sense_counts(
    index: dict[str, list[str]], counts: dict[tuple[str, str, int], int], file: str
) -> dict[tuple[str, str], int]:
    """(lemma in lower case, offset) -> frequency of this word in this sense."""
    return {
        (lemma, offset): counts[file, lemma, number]
        for lemma, offsets in index.items()
        for number, offset in enumerate(offsets, 1)
        if (file, lemma, number) in counts
    }


def best_word(synset: Synset, tagged: dict[tuple[str, str], int], words: Words) -> tuple[str, int] | None:
    """The most frequent word of the synset, the first of several, and its frequency.

    None if no word occurs, or only once and it is not a known word in its usual sense.
    """
    scores = [(tagged.get((lemma(word), synset.offset), 0), words.is_usual(word, synset)) for word in synset.words]
    best = max(range(len(scores)), key=lambda place: (*scores[place], -place))
    word, (count, usual) = synset.words[best], scores[best]
    return (word, count) if count > 1 or (count and usual and words.is_known(word)) else None


def known_thing(synset: Synset, words: Words) -> tuple[str, int] | None:
    """The word, if the synset is the usual sense of a known noun for a visible thing; else None."""
    word = synset.words[0]
    visible = synset.lexname in VISIBLE and word.isalpha() and word.islower() and word not in words.also_other
    return (word, 0) if visible and words.is_usual(word, synset) and words.is_known(word) else None


def unfit(word: str, definition: str, synset: Synset) -> str:
    """Why a synset gives no row; '' if it does."""
    if synset.targets("@i"):
        return "the name of one person, place or thing"
    if not re.search(r"[a-z]{2}", word.lower()) or re.search(r"\d", word):
        return "a letter, number or sign"
    if COARSE.search(f"{word} {definition}"):
        return "coarse or disparaging"
    if re.search(rf"\b{re.escape(word.lower())}\w{{0,{INFLECTION}}}\b", definition.lower()):
        return "the definition uses the word itself"
    if len(tokens(definition)) < MIN_WORDS:
        return f"a definition of fewer than {MIN_WORDS} words"
    return ""


def shows(word: str, example: str) -> bool:
    """Whether an example contains the word in some form; other examples are for synonyms."""
    stem = re.escape(word.lower().split()[0][: max(3, len(word.split()[0]) - 2)])
    return re.search(rf"\b{stem}", example.lower()) is not None


def related(synset: Synset, word: str, synsets: dict[str, dict[str, Synset]]) -> dict[str, str]:
    """hypernym and antonym, if they exist."""
    relations = {}
    if above := synset.targets("@"):
        relations["hypernym"] = synsets[synset.file][above[0][1]].words[0]
    own = synset.words.index(word) + 1
    for _, offset, _, numbers in synset.targets("!"):
        if int(numbers[:2], 16) == own:
            relations["antonym"] = synsets[synset.file][offset].words[int(numbers[2:], 16) - 1]
            break
    return relations


def lemma(word: str) -> str:
    return word.replace(" ", "_").lower()


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:['-][a-z]+)*", text.lower())


CORPUS = WordNet()
