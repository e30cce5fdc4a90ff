"""Tars of media with captions: output of img2dataset, and other WebDataset tars.

A sample is any media with JSON (caption, text, url, licence, author) or a text file. One row per medium; several media
in one sample refer to each other by the attribute pair. Attributes: kind 'photo', 'cut-out', 'sound' or 'clip', url.
Option `style` (or `kind`, `family`) names a JSON field that is copied to that attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codi2_datasets.readers import pairs
from codi2_datasets.readers.base import Connector, InputSplit, Rows
from codi2_datasets.readers.values import WEB, string, text


def rows(piece: InputSplit) -> Rows:
    taken = {name: piece.place.options[name] for name in ("style", "kind", "family") if piece.place.options.get(name)}

    def describe(record: Mapping[str, Any]) -> pairs.MediaRecord:
        details = pairs.plain(record)
        own = {name: text(string(record.get(field))) for name, field in taken.items()}
        return replace(
            details, attributes={**details.attributes, **{name: value for name, value in own.items() if value}}
        )

    return pairs.tar_rows(piece, describe, ("image", "audio", "video"), WEB)


CONNECTOR = Connector(
    name="webdataset",
    version="2",
    description="Tars of media with captions, as img2dataset and WebDataset write them",
    homepage="https://github.com/rom1504/img2dataset",
    licence=WEB,
    terms="Whatever the tars hold: say it by the option licence, or by a field licence in each sample's JSON.",
    size="any",
    tasks=(
        "text_to_image",
        "image_captioning",
        "text_to_audio",
        "audio_captioning",
        "text_to_video",
        "video_captioning",
        "image_to_audio",
        "audio_to_image",
        "joint_image_audio",
    ),
    pieces=pairs.tar_pieces,
    results=rows,
    options={"style": "", "kind": "", "family": ""},
)
