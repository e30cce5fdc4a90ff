"""Microsoft's animated Fluent emoji: three-second animations. One row per emoji, modality video.

The four packages hold one set, divided by the order of its file names; each is a corpus of its own, because each is a
download of about 170 MB. They also hold the emojis that were never animated, as still images: these are rejected.
Attributes: those of the drawn emojis of `emoji`, with style 'Fluent animated', and kind 'animation'.

Licence: each package.json gives MIT, and so does Microsoft's own repository of these animations; the packages ship no
licence file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.corpora.emoji import MICROSOFT, WEBP, CandidateDrawing, EmojiStyle
from codi2_datasets.corpora.support.emoji_attributes import ATTRIBUTES
from codi2_datasets.corpora.support.emojibase import SOURCE as EMOJIBASE
from codi2_datasets.corpora.support.emojibase import load_captions, load_emojis, normalise_hexcode

FOLDER = "package/assets"
STYLE = "Fluent animated"


@dataclass(frozen=True)
class FluentAnimated:
    name: str
    source: str
    size: str
    version: str = "2"
    companions: tuple[str, ...] = (EMOJIBASE,)
    licence: str = "MIT"
    description: str = f"Emoji in the {STYLE} style, moving"
    tasks: tuple[str, ...] = ("text_to_video", "video_captioning", "reasoning")
    attributes = ATTRIBUTES

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        emojis, captions = load_emojis(companions[EMOJIBASE]), load_captions(companions[EMOJIBASE])
        style = EmojiStyle(self.name, STYLE, self.source, self.licence, MICROSOFT, self.size, lambda *_: iter(()))
        taken: set[str] = set()
        for path in sorted((package / FOLDER).glob("*.webp")):
            locator = f"{FOLDER}/{path.name}"
            emoji = emojis.get(normalise_hexcode(path.stem))
            if not is_animated(path):
                yield RejectedRow(self.name, locator, "not animated")
            elif emoji is None:
                yield RejectedRow(self.name, locator, "no emoji of that name")
            elif emoji.hexcode in taken:
                yield RejectedRow(self.name, locator, "another animation of the same emoji")
            else:
                taken.add(emoji.hexcode)
                drawing = CandidateDrawing(locator, (emoji.hexcode,), path.read_bytes, WEBP)
                row = style.row(drawing, emoji, captions.get(emoji.hexcode, {}))
                yield replace(row, modality="video", attributes={**row.attributes, "kind": "animation"})


def is_animated(path: Path) -> bool:
    """Whether the WebP's extended header is followed by the animation chunk."""
    with path.open("rb") as file:
        return file.read(34)[30:] == b"ANIM"


PARTS = {1: 477, 2: 526, 3: 568, 4: 538}  # package -> animations in it
CORPORA = tuple(
    FluentAnimated(f"emoji-animated-{part}", f"npm:@lobehub/fluent-emoji-anim-{part}@1.0.0", f"{count} animations")
    for part, count in PARTS.items()
)
