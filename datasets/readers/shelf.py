"""Media in a folder, looked up by the names used in lists and entries."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from codi2_datasets.corpora.base import TRANSIENT_PREFIX
from codi2_datasets.readers.files import find, kept, matches, of_one_file, opened, short, stem
from codi2_datasets.readers.media import ENDINGS, RawMedium, medium
from codi2_datasets.readers.values import Bad

EVERY_ENDING = tuple(ending for endings in ENDINGS.values() for ending in endings)


def endings_of(modalities: Sequence[str]) -> tuple[str, ...]:
    """Glob patterns for files of these modalities; video files may also provide audio."""
    kinds = dict.fromkeys([*modalities, *(["video"] if "audio" in modalities else [])])
    return tuple(f"*.{ending}" for kind in kinds for ending in ENDINGS[kind])


def without_ending(name: str) -> str:
    """A name without the extension of a medium; a name that has none is unchanged."""
    begin, _, ending = name.rpartition(".")
    return begin if begin and ending.strip().lower() in EVERY_ENDING else name


def same_name(name: str) -> str:
    """A name normalised for comparison: systems encode accented letters in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@kept(4)
def listing(folder: str) -> dict[str, list[str]]:
    """The media of a folder by name without extension, about 200 bytes of memory each; cached for the next piece."""
    by_name: dict[str, list[str]] = {}
    for name in find(folder, endings_of(tuple(ENDINGS))):
        by_name.setdefault(same_name(stem(name)), []).append(name)
    return by_name


def shelved(folder: str, wanted: Sequence[str], modalities: Sequence[str]) -> RawMedium | Bad:
    """The medium for the first of the names that exists, anywhere in the folder.

    Names may have an extension and folders before them. If files in several folders match, the result is Bad.
    """
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
    """Whether a file has this name, including its folders if the name has some."""
    return ends_with(same_name(path).rpartition(".")[0], plain)


def ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name.removeprefix('./').lstrip('/')}")


def of_first_modality(paths: Sequence[str], modalities: Sequence[str]) -> list[str]:
    """Of interchangeable files, those of the first modality; audio may also come from a video."""
    kinds = [{path for path in paths if path.lower().endswith(ENDINGS[kind])} for kind in (*modalities, "video")]
    return sorted(next((kind for kind in kinds if kind), set()))


def read_medium(path: str, modalities: Sequence[str]) -> RawMedium | Bad:
    """The medium in a file. A file that cannot be read fails for now; an unreachable store is an error."""
    try:
        with opened(path, seekable=True) as file:
            return medium(file.read(), short(path), modalities)
    except OSError as error:
        if not of_one_file(error):
            raise
        return Bad(f"{TRANSIENT_PREFIX}its file cannot be read ({error.strerror or type(error).__name__})")
