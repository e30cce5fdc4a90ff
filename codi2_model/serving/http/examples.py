"""Writes the example media of the web page: small images, audio and a video of open corpora, with licence and author.

    python -m codi2_model.serving.http.examples        rewrites serving/page/examples/ with the same bytes

Only corpora under MIT, Apache-2.0 or CC0-1.0 are used, because the files are part of the package.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from codi2_datasets.corpora import corpora
from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.formats.hashing import sha256
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.image import normalise_image
from codi2_datasets.media.video import normalise_video
from codi2_datasets.sources.fetch import fetch

FOLDER = Path(__file__).parent.parent / "page" / "examples"
SIDE = 112  # pixels of an image or video
SECONDS = 2.0  # maximum of an audio file
LICENCES = ("MIT", "Apache-2.0", "CC0-1.0")
ENDINGS = {"image": "webp", "audio": "flac", "video": "mp4"}
SELECTION = {  # corpus -> caption in the corpus -> name of the example
    "emoji-fluent-3d": {
        "red apple": "apple-3d", "green apple": "green-apple-3d", "dog face": "dog-3d", "drum": "drum-3d",
        "rocket": "rocket-3d", "guitar": "guitar-3d", "duck": "duck-3d", "bell": "bell-3d",
    },
    "emoji-noto": {
        "red apple": "apple-noto", "green apple": "green-apple-noto", "dog face": "dog-noto", "rocket": "rocket-noto",
        "house with garden": "house-noto", "sun": "sun-noto", "duck": "duck-noto", "cat face": "cat-noto",
    },
    "emoji-animated-1": {"dog face": "dog-moving"},
    "sonic-pi-samples": {"drum roll": "drum-roll", "bell": "bell", "crow cawing": "crow"},
    "general-midi": {"a grand piano playing an arpeggio": "piano"},
}  # fmt: skip

MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


@dataclass(frozen=True)
class Example:
    """An example file with its source and licence."""

    name: str
    file: str
    kind: str
    caption: str
    corpus: str
    source: str
    locator: str
    licence: str
    author: str
    sha256: str


def write_examples(folder: Path = FOLDER) -> list[Example]:
    """Write the media, `examples.json` and `ATTRIBUTION.md` into the folder, and remove all other files."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for example, data in load_examples():
        (folder / example.file).write_bytes(data)
        examples.append(example)
    table = json.dumps([asdict(example) for example in examples], indent=1, ensure_ascii=False)
    (folder / "examples.json").write_text(table + "\n", encoding="utf-8")
    (folder / "ATTRIBUTION.md").write_text(attribution(examples), encoding="utf-8")
    kept = {example.file for example in examples} | {"examples.json", "ATTRIBUTION.md"}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    return examples


def load_examples() -> Iterator[tuple[Example, bytes]]:
    """Every example with its bytes, by corpus. Raises LookupError if a corpus does not have the caption."""
    for name, captions in SELECTION.items():
        corpus = corpora()[name]
        companions = {source: fetch(source).path for source in corpus.companions}
        rows: dict[str, SourceRow] = {}
        for row in corpus.rows(fetch(corpus.source).path, companions):
            if isinstance(row, SourceRow) and row.caption in captions:
                rows.setdefault(row.caption, row)
        for caption, short in captions.items():
            if caption not in rows:
                raise LookupError(f"{name}: no row has the caption {caption!r}")
            row = rows[caption]
            if row.licence not in LICENCES:
                raise LookupError(f"{name}: licence of {caption!r} is {row.licence}, not one of {', '.join(LICENCES)}")
            data = normalised(row)
            fields = (row.modality, row.caption, name, corpus.source, row.locator, row.licence, row.author)
            yield Example(short, f"{short}.{ENDINGS[row.modality]}", *fields, sha256(data)), data


def normalised(row: SourceRow) -> bytes:
    """The normalised medium, larger than in samples."""
    payload = row.payload if isinstance(row.payload, bytes) else row.payload.encode()
    if row.modality == "image":
        return normalise_image(payload, row.media_type, SIDE)
    if row.modality == "audio":
        return normalise_audio(payload, max_seconds=SECONDS)[0]
    return normalise_video(payload, row.media_type, SIDE).data


def attribution(examples: list[Example]) -> str:
    """The text of ATTRIBUTION.md: authors and licences by corpus."""
    by_corpus: dict[tuple[str, str, str], list[Example]] = defaultdict(list)
    for example in examples:
        by_corpus[example.corpus, example.source, example.licence].append(example)
    lines = ["# Examples of the web page: sources, authors, licences", ""]
    lines.append("Made from these open corpora (scaled or cut) by `codi2_model/serving/http/examples.py`.")
    for (corpus, source, licence), rows in by_corpus.items():
        lines += ["", f"## {corpus} ({source}), {licence}", ""]
        lines += [f"- `{row.file}`: {row.caption}, {row.author}; `{row.locator}`" for row in rows]
    lines += ["", "## Text of the MIT licence", "", MIT]
    lines += ["The text of Apache-2.0 is in `LICENSE` of this repository. CC0-1.0 has no conditions."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for written in write_examples():
        size = (FOLDER / written.file).stat().st_size
        print(f"{size:>8,}  {written.file:<24} {written.licence:<12} {written.author}")
