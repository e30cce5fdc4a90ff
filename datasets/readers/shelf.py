"""Media in a folder, looked up by the names under which lists and entries know them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from codi2_datasets.corpora.base import PASSES
from codi2_datasets.readers.files import find, kept, matches, of_one_file, opened, short, stem
from codi2_datasets.readers.media import ENDINGS, Medium, medium
from codi2_datasets.readers.values import Bad

EVERY_ENDING = tuple(ending for endings in ENDINGS.values() for ending in endings)


def endings_of(modalities: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the files that may hold these; clips have sound too."""
    kinds = dict.fromkeys([*modalities, *(["video"] if "audio" in modalities else [])])
    return tuple(f"*.{ending}" for kind in kinds for ending in ENDINGS[kind])


def without_ending(name: str) -> str:
    """A name without the ending of a medium; one that has none stays as it is."""
    begin, _, ending = name.rpartition(".")
    return begin if begin and ending.strip().lower() in EVERY_ENDING else name


def same_name(name: str) -> str:
    """A name as others are compared with it: systems write letters with marks in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@kept(4)
def listing(folder: str) -> dict[str, list[str]]:
    """The media of a folder by name without ending, about 200 bytes of memory each; kept for the next piece."""
    found: dict[str, list[str]] = {}
    for name in find(folder, endings_of(tuple(ENDINGS))):
        found.setdefault(same_name(stem(name)), []).append(name)
    return found


def shelved(folder: str, wanted: Sequence[str], modalities: Sequence[str]) -> Medium | Bad:
    """The medium under the first of the names that a folder has, wherever it lies in it. Names may have an ending and
    folders before them; where files of several folders have the name, it is none's."""
    shelf, endings = listing(folder), endings_of(modalities)
    for name in wanted:
        whole = same_name(name)
        plain = without_ending(whole)
        alike = shelf.get(plain.rpartition("/")[2], ())
        there = [path for path in alike if matches(path.rpartition("/")[2], endings) and lies_under(path, plain)]
        exact = [path for path in there if ends_with(same_name(path), whole)]
        if chosen := exact or of_first_modality(there, modalities):
            if len({path.rpartition("/")[0] for path in chosen}) > 1:
                return Bad(f"its medium lies in several folders: {', '.join(map(short, chosen))[:200]}")
            return read_medium(chosen[0], modalities)
    return Bad("its medium is not in the folder")


def lies_under(path: str, plain: str) -> bool:
    """Whether a file has a name, and the folders before it where the name has some."""
    return ends_with(same_name(path).rpartition(".")[0], plain)


def ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name.removeprefix('./').lstrip('/')}")


def of_first_modality(paths: Sequence[str], modalities: Sequence[str]) -> list[str]:
    """Of files that may stand for one another those of the modality that is named first; sound may be that of a clip."""
    kinds = [{path for path in paths if path.lower().endswith(ENDINGS[kind])} for kind in (*modalities, "video")]
    return sorted(next((kind for kind in kinds if kind), set()))


def read_medium(path: str, modalities: Sequence[str]) -> Medium | Bad:
    """The medium in a file. One file that cannot be read is a row that failed for now; a store that is away is an error."""
    try:
        with opened(path, seekable=True) as file:
            return medium(file.read(), short(path), modalities)
    except OSError as error:
        if not of_one_file(error):
            raise
        return Bad(f"{PASSES}its file cannot be read ({error.strerror or type(error).__name__})")
