"""LLaVA's entries: every medium stands where its mark does, and marks are as many as media."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from codi2_datasets.connectors import CorpusLocation, connectors
from codi2_datasets.corpora import RejectedRow
from codi2_datasets.readers import files
from codi2_datasets.readers.llava import in_place, media_of
from codi2_datasets.readers.values import Bad
from codi2_datasets.readers.words import MARK


@pytest.fixture(scope="module")
def media(making: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    for n, name in enumerate(("cat.jpg", "dog.JPG")):
        making.write(folder / "media" / name, making.jpeg(n))
    making.write(folder / "media" / "v.mp4", making.clip(1))
    making.write(folder / "media" / "s.wav", making.tone(1))
    return folder


def read(folder: Path, *turns: str, **entry: Any) -> list[Any]:
    """Rows of one entry: of media (modality, ref), of a text (kind, turns, media), of a reject its reason."""
    said = [{"from": ("human", "gpt")[n % 2], "value": value} for n, value in enumerate(turns)]
    (folder / "x.json").write_text(json.dumps([{"id": 7, **entry, "conversations": said}]))
    files.keep_for("")
    llava, place = connectors()["llava-instruct"], CorpusLocation("x", str(folder / "x.json"), str(folder / "media"))
    found: list[Any] = []
    for row in (row for piece in llava.pieces(place) for row in llava.rows(piece)):
        if isinstance(row, RejectedRow):
            found.append(row.reason)
        elif row.modality == "text":
            turns_ = json.loads(str(row.payload))[: len(turns)]
            found.append((row.attributes["kind"], turns_, row.attributes.get("media")))
        else:
            found.append((row.modality, row.attributes["ref"]))
    return found


def test_one_image_beside_the_question_is_a_conversation_as_ever(media: Path) -> None:
    for asked in ("<image>\nWhat?", "What?\n<image>"):
        image, text = read(media, asked, "None", image="cat.jpg")
        assert image == ("image", "cat.jpg") and text == ("conversation", ["What?", "None"], ["cat.jpg"])


@pytest.mark.parametrize(
    ("turns", "entry", "wanted"),
    [
        (["Before <image> after", "Yes."], {"image": "cat.jpg"}, [f"Before {MARK} after", "Yes."]),
        (["<image>\n<image>\nWhich?", "b"], {"image": ["cat.jpg", "dog.JPG"]}, [f"{MARK}\n{MARK}\nWhich?", "b"]),
        (["<video>\nWhat?", "a"], {"video": "v.mp4"}, [f"{MARK}\nWhat?", "a"]),
        (["<image>\nWhat?", "a"], {"video": "v.mp4"}, [f"{MARK}\nWhat?", "a"]),  # as LLaVA-Video writes it
        (["<image> and <audio>?", "a"], {"image": "cat.jpg", "audio": "s.wav"}, [f"{MARK} and {MARK}?", "a"]),
        (["<image>?", "a", "And <image>?", "b"], {"images": ["cat.jpg", "cat.jpg"]}, [f"{MARK}?", "a", f"And {MARK}?", "b"]),
    ],
)  # fmt: skip
def test_media_stand_where_their_marks_do(
    turns: list[str], entry: dict[str, Any], wanted: list[str], media: Path
) -> None:
    *rows, text = read(media, *turns, **entry)
    names = [name for value in entry.values() for name in ([value] if isinstance(value, str) else value)]
    assert text == ("interleaved", wanted, names) and [ref for _, ref in rows] == list(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("asked", "entry", "reason"),
    [
        ("<image><image>?", {"image": "cat.jpg"}, "more <image> than media"),
        ("<image>?", {}, "more <image> than media"),
        ("<video>?", {"image": "cat.jpg"}, "more <video> than media"),
        ("What?", {"image": "cat.jpg"}, "fewer marks than media: image"),
        ("<image>?", {"image": ["cat.jpg", "dog.JPG"]}, "fewer marks than media: image"),
        ("<image>?", {"image": "gone.jpg"}, "its medium is not in the folder"),
        ("<image>?", {"image": {"path": "cat.jpg"}}, "image: a name is no string"),
    ],
)
def test_marks_that_do_not_match_are_a_reject(asked: str, entry: dict[str, Any], reason: str, media: Path) -> None:
    assert read(media, asked, "a", **entry) == [reason]


def test_turns_are_cut_at_their_marks() -> None:
    assert media_of({"image": "", "video": None, "audios": []}) == {}
    assert in_place(["a <image>b", "<audio>"], {"image": ["1"], "audio": ["2"]}) == [
        [("text", "a "), ("image", "1"), ("text", "b")], [("audio", "2")]]  # fmt: skip
    assert in_place(["<image>"], {"audio": ["2"]}) == Bad("more <image> than media")
