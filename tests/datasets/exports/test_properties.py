"""Exports, for any sample: what is written comes back, and a reader without our field misses only what was counted."""

from __future__ import annotations

import io
import itertools
import json
from importlib.util import find_spec
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.exports import Item, Loss, Reading, formats, obelics
from codi2_datasets.exports.base import roles_lost
from codi2_datasets.exports.llava import ESCAPED, TOKEN
from codi2_datasets.exports.mimic_it import entries
from codi2_datasets.exports.trl import SCHEMA, item_of, row_of
from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_datasets.media.audio import encode_audio
from codi2_datasets.media.image import encode_image
from codi2_datasets.media.video import encode_video
from codi2_storage.store import Store

NAMES = [name for name in sorted(formats()) if name != "lance" or find_spec("lance")]
FOLDERS = itertools.count()
DRAW = np.random.default_rng(4)
MEDIA = {
    "image": [encode_image(DRAW.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(3)],
    "audio": [encode_audio(DRAW.standard_normal(800) * 0.1) for _ in range(3)],
    "video": [encode_video(DRAW.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)) for _ in range(2)],
}
ANY = ("text", "text", "image", "audio", "video")
SEEN, SAID = ("text", "text", "image"), ("text",)
# what is told from what: words that formats use as marks, text without letters, any language
WORDS = st.one_of(
    st.sampled_from(
        ["<image>", "a <image> b", "<ima", "ge>", "&lt;image&gt;", " ", "\n", "。", "'\"{}", "<|endofchunk|>"]
    ),
    st.text(max_size=12),
)


@st.composite
def parts(draw: st.DrawFn, place: int, target: bool, kinds: tuple[str, ...]) -> tuple[Part, bytes | None]:
    kind = draw(st.sampled_from(kinds))
    role = "target" if target else draw(st.sampled_from([None, "query", "demo_input", "demo_output"]))
    asset = draw(st.sampled_from([None, "a" * 64]))
    if kind == "text":
        return Part("text", draw(WORDS), None, asset, role, target), None  # type: ignore[arg-type]
    member = f"{place:03d}.{EXTENSIONS[kind]}"
    return Part(kind, None, member, asset, role, target), draw(st.sampled_from(MEDIA[kind]))  # type: ignore[arg-type]


@st.composite
def items(draw: st.DrawFn, asked: tuple[str, ...] = ANY, said: tuple[str, ...] = ANY) -> Item:
    """A sample of turns with parts of these kinds, in questions and in replies."""
    media: dict[str, bytes] = {}
    messages, place = [], 0
    for turn in range(draw(st.integers(1, 4))):
        content = []
        for _ in range(draw(st.integers(1, 4))):
            part, data = draw(parts(place, turn % 2 == 1, said if turn % 2 else asked))
            content.append(part)
            if part.part is not None and data is not None:
                media[part.part] = data
            place += 1
        messages.append(Message("user" if turn % 2 == 0 else "assistant", tuple(content)))
    head = (draw(st.uuids()).hex, draw(st.sampled_from(["image_editing", "text_icl", "multi_turn"])))
    split = draw(st.sampled_from(["train", "validation", "test"]))
    meta = draw(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2))
    return Item(Sample(*head, split, tuple(messages), "MIT", draw(st.integers(0, 2**31)), "", meta), media)


def in_splits(found: list[Item], tasks: bool) -> dict[tuple[str, str], list[Item]]:
    by_split: dict[tuple[str, str], list[Item]] = {}
    for item in found:
        by_split.setdefault((item.sample.split, item.sample.task if tasks else ""), []).append(item)
    return by_split


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(items(), min_size=1, max_size=5, unique_by=lambda item: item.sample.sample_id), st.data())
def test_what_is_written_comes_back(written: list[Item], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    store = Store(f"memory://{name}-{next(FOLDERS)}")
    loss = formats()[name].write(iter(written), store)
    assert loss.written + loss.left_out.total() == len(written)
    back = list(formats()[name].read(store, Reading(), Loss())) if loss.written else []
    assert len(back) == loss.written
    known = {item.sample.sample_id: item for item in written}
    assert all(item == known[item.sample.sample_id] for item in back)
    if not loss.left_out:
        of_tasks = name == "hf"  # whose files are those of one task
        assert in_splits(back, of_tasks) == in_splits(written, of_tasks)


@given(items())
@settings(max_examples=60, deadline=None)
def test_a_sample_goes_through_json_messages_and_parquet_unchanged(item: Item) -> None:
    assert Sample.from_json(item.sample.to_json()) == item.sample
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row_of(item)], schema=SCHEMA), buffer)
    row = pq.read_table(io.BytesIO(buffer.getvalue())).to_pylist()[0]
    assert item_of(row, Reading(), Loss(), item.sample.split, "0") == item
    # the columns that others read say the same, less the roles: without ours, messages and media come back in order
    again = item_of({**row, "codi2": None}, Reading(item.sample.task), Loss(), item.sample.split, "0")
    told = [[(m.role, p.type, p.text) for p in m.content] for m in item.sample.messages]
    assert [[(m.role, p.type, p.text) for p in m.content] for m in again.sample.messages] == told
    assert list(again.media.values()) == [item.media[p.part] for p in item.sample.parts() if p.part]


# --- readers that know the format alone ---------------------------------------------------------------------------


def runs(messages: tuple[Message, ...]) -> list[tuple[str, list[str]]]:
    """Turns as LLaVA can tell them: texts that meet are one, pictures are marks, and no text is no part."""
    told = []
    for message in messages:
        pieces: list[str] = []
        for kind, run in groupby(message.content, key=lambda part: part.type):
            parts = list(run)
            words = "".join(part.text or "" for part in parts).replace(ESCAPED, TOKEN)
            pieces += ["(picture)"] * len(parts) if kind == "image" else [words] if words else []
        told.append((message.role, pieces))
    return told


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items(SEEN, SAID))
def test_llava_without_our_field_says_the_same_turns(item: Item) -> None:
    store = Store(f"memory://blind-{next(FOLDERS)}")
    loss = formats()["llava"].write([item], store)
    name = f"{item.sample.split}.json"
    told = json.loads(store.read_bytes(name))
    del told[0]["codi2"]
    store.write_bytes(name, json.dumps(told).encode())
    back = next(formats()["llava"].read(store, Reading(), Loss()))
    assert runs(back.sample.messages) == runs(item.sample.messages)
    assert list(back.media.values()) == list(item.media.values())
    meet = sum(a.type == b.type == "text" for m in item.sample.messages for a, b in itertools.pairwise(m.content))
    assert loss.lost["boundary between texts"] == meet


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items(SEEN, SEEN))
def test_obelics_without_our_field_says_the_same_parts_in_order(item: Item) -> None:
    row = pa.Table.from_pylist([obelics.row_of(item)], schema=obelics.SCHEMA).to_pylist()[0]
    back = obelics.item_of({**row, "codi2": None}, Reading(), Loss(), "train-00000.parquet", 0)
    told = [(part.type, part.text) for part in back.sample.messages[1].content]
    assert told == [(part.type, part.text) for part in item.sample.parts()]
    assert list(back.media.values()) == list(item.media.values())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items(SEEN, SAID))
def test_every_part_is_in_an_instruction_of_mimic_it_or_counted(item: Item) -> None:
    loss = formats()["mimic_it"].write([item], Store(f"memory://mimic-{next(FOLDERS)}"))
    if not loss.written:
        return
    found, rest = entries(item.sample)
    assert loss.lost["text part"] + loss.lost["image part"] == len(rest)
    pictures = sum(part.type == "image" for part in item.sample.parts())
    assert sum(len(entry["image_ids"]) for entry in found.values()) == pictures - loss.lost["image part"]
    said = "".join(entry["instruction"] + entry["answer"] for entry in found.values())
    assert all((part.text or "").strip() in said for part in item.sample.parts() if part not in rest)


@settings(max_examples=60, deadline=None)
@given(items())
def test_a_target_mark_is_counted_where_the_speaker_does_not_tell_it(item: Item) -> None:
    loss = Loss()
    roles_lost(item.sample, loss)
    assert loss.lost["target mark"] == sum(part.target for part in item.sample.parts())
    assert loss.lost["in-context role"] == sum(part.icl_role is not None for part in item.sample.parts())
    chat = Loss()
    roles_lost(item.sample, chat, "target")
    assert chat.lost["target mark"] == 0  # every reply is a target here, and nothing else
