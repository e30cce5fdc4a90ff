"""The index of tars: equal to Python's tarfile, over many shards; errors name the shard."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.formats.tar import add_member
from codi2_model.training.data import shards as shards_module
from codi2_model.training.data.shards import ShardSet
from codi2_model.training.data.tar_index import Records, ShardError, record_at, sample_starts
from tests.codi2_model.shards import write_shards

KEYS = st.text("0123456789abcdef", min_size=1, max_size=64)
MEDIA = st.dictionaries(st.integers(0, 999).map(lambda n: f"{n:03d}.webp"), st.binary(max_size=1500), max_size=4)
SAMPLES = st.dictionaries(KEYS, st.tuples(st.binary(max_size=700), MEDIA), max_size=6)
Samples = dict[str, tuple[bytes, dict[str, bytes]]]


def packed(samples: Samples, format_: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        for key, (json, media) in samples.items():
            add_member(archive, f"{key}.json", json)
            for name, data in media.items():
                add_member(archive, f"{key}.{name}", data)
    return buffer.getvalue()


@given(SAMPLES, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_sample_is_found_where_it_lies(samples: Samples, format_: int) -> None:
    data = packed(samples, format_)
    starts = sample_starts(data, "a.tar")
    records = Records(lambda shard, start, stop: record_at(data, "a.tar", shard, start, stop))
    records.add(7, starts)
    assert len(records) == len(samples) and [record.key for record in records] == list(samples)
    for record, (json, media) in zip(records, samples.values(), strict=True):
        assert record.shard == 7 and data[record.json.start : record.json.stop] == json
        assert {name: data[span.start : span.stop] for name, span in record.media.items()} == media


@given(SAMPLES.filter(bool), st.data())
def test_a_tar_that_is_cut_anywhere_is_refused(samples: Samples, draw: st.DataObject) -> None:
    data = packed(samples)
    end = int(sample_starts(data, "a.tar")[-1])
    with pytest.raises(ShardError, match=r"a\.tar"):
        sample_starts(data[: draw.draw(st.integers(0, end))], "a.tar")


@given(SAMPLES.filter(bool), st.data())
def test_a_header_with_a_flipped_bit_is_refused(samples: Samples, draw: st.DataObject) -> None:
    data = bytearray(packed(samples))
    data[draw.draw(st.integers(0, 99))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(ShardError, match=r"a\.tar"):
        sample_starts(bytes(data), "a.tar")


def test_more_shards_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_shards(tmp_path, train=12, held_out=4, per_shard=2)
    keys = [record.key for of in ShardSet(paths).samples.values() for record in of]
    monkeypatch.setattr(shards_module, "MAX_OPEN_SHARDS", 2)
    few = ShardSet(paths)
    assert [record.key for of in few.samples.values() for record in of] == keys and len(few._maps) <= 2
    assert len(keys) == len(set(keys)) > 2 * len(paths) - 2


def test_records_over_shards_are_counted_from_both_ends() -> None:
    first, second = (packed({key: (b"{}", {}) for key in keys}) for keys in ("ab", "cde"))
    records = Records(lambda shard, start, stop: record_at((first, second)[shard], "", shard, start, stop))
    records.add(0, sample_starts(first, ""))
    records.add(1, sample_starts(second, ""))
    assert [record.key for record in records[1:4]] == ["b", "c", "d"] and records[-1].key == "e"
    with pytest.raises(IndexError):
        records[5]
