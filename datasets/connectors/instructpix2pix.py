"""InstructPix2Pix: pictures made by a diffusion model, an instruction, and the picture after it.

As published: folders shard-NN/NNNNNNN/ with prompt.json (input, edit, output), {seed}_0.jpg before and {seed}_1.jpg after; or
the hub's Parquet (original_prompt, original_image, edit_prompt, edited_prompt, edited_image).
Two image rows and one text row an edit. Attributes: kind 'photo', 'edit'; family (the prompt: all its seeds), ref, media.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.connectors.base import Connector, Piece, Place, RowResult, Rows
from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import tables
from codi2_datasets.readers.edits import Edit, edit_rows
from codi2_datasets.readers.files import find, folder_identity, opened, short, stem
from codi2_datasets.readers.json_rows import json_object
from codi2_datasets.readers.results import result, results
from codi2_datasets.readers.values import Bad, text
from codi2_datasets.readers.words import family_of
from codi2_datasets.sources.registries import SourceUnavailable

LICENCE, AUTHOR = "LicenseRef-InstructPix2Pix", "Tim Brooks, Aleksander Holynski, Alexei A. Efros"
NEEDED = (("original_image",), ("edit_prompt",), ("edited_image",))


def pieces(place: Place) -> Iterator[Piece]:
    """Row groups of Parquet; of folders one piece for each shard."""
    try:
        prompts = [name for name in find(place.path, ("prompt.json",)) if name.endswith("prompt.json")]
    except SourceUnavailable:
        prompts = []
    if not prompts:
        yield from tables.parquet_pieces(place, *NEEDED)
        return
    shards = Counter(up(name, 2) for name in prompts)
    for shard, number in sorted(shards.items()):
        yield Piece(place, shard, folder_identity(shard, ("prompt.json", "*.jpg")), kind="folder", rows=number)


def up(path: str, levels: int) -> str:
    return "/".join(path.split("/")[:-levels])


def rows(piece: Piece) -> Rows:
    if piece.kind == "folder":
        yield from (prompt_result(piece.place, prompt) for prompt in find(piece.file, ("prompt.json",)))
    else:
        found = tables.parquet_rows(piece.file, piece.part or 0, binary=("original_image", "edited_image"))
        yield from results(piece, found, describe)


def describe(place: Place, locator: str, row: Mapping[str, Any]) -> Iterator[SourceRow | RejectedRow]:
    before, after = text(row.get("original_prompt")), text(row.get("edited_prompt"))
    family = family_of(before or locator)
    first, second = (tables.image_bytes(row.get(name)) for name in ("original_image", "edited_image"))
    return edit_rows(
        place, Edit(locator, first, second, row.get("edit_prompt"), family, LICENCE, AUTHOR, (before, after))
    )


def prompt_result(place: Place, prompt: str) -> RowResult:
    """The edits of one prompt, by their seeds."""
    locator, told = short(up(prompt, 1)), json_object(read(prompt))
    if isinstance(told, Bad):
        return result(place, locator, Bad(f"prompt.json: {told.reason}"))
    captions = text(told.get("input")), text(told.get("output"))
    family = family_of(captions[0] or locator)
    found = {stem(name): name for name in find(up(prompt, 1), ("*.jpg", "prompt.json"))}
    given: list[SourceRow | RejectedRow] = []
    for seed in sorted({name.rpartition("_")[0] for name in found} - {""}):
        before, after = (read(side) if (side := found.get(f"{seed}_{n}")) else None for n in (0, 1))
        edit = Edit(f"{locator}/{seed}", before, after, told.get("edit"), family, LICENCE, AUTHOR, captions)
        given += edit_rows(place, edit)
    return result(place, locator, given or Bad("no images beside its prompt.json"))


def read(path: str) -> bytes:
    with opened(path, seekable=True) as file:
        return file.read()


CONNECTOR = Connector(
    name="instructpix2pix",
    version="2",
    description="InstructPix2Pix: pictures edited as an instruction says, all made by models",
    homepage="https://github.com/timothybrooks/instruct-pix2pix",
    licence=LICENCE,
    terms="Made with Stable Diffusion and GPT-3, and published with the project under MIT; both models' terms go with them.",
    size="313,010 edits (CLIP-filtered)",
    tasks=("image_editing", "exemplar_learning", "reasoning", "text_to_image", "image_captioning"),
    pieces=pieces,
    results=rows,
)
