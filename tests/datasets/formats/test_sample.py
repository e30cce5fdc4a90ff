"""The sample format: any order of parts survives the way to JSON and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.formats.sample import Message, Part, Sample, SampleError

roles = st.sampled_from([None, "demo_input", "demo_output", "query", "target"])
texts = st.builds(lambda text, target: Part("text", text, target=target), st.text(), st.booleans())
media = st.builds(
    lambda kind, n, role, target: Part(kind, None, f"{n:03d}.bin", f"{n:064x}", role, target),
    st.sampled_from(["image", "audio", "video"]),
    st.integers(0, 999),
    roles,
    st.booleans(),
)
messages = st.builds(
    lambda role, content: Message(role, tuple(content)),
    st.sampled_from(["user", "assistant"]),
    st.lists(st.one_of(texts, media), max_size=6),
)
samples = st.builds(
    lambda turns, seed: Sample("a1", "image_editing", "train", tuple(turns), "MIT", seed, meta={"k": "é"}),
    st.lists(messages, max_size=5),
    st.integers(0, 2**31),
)


@given(samples)
def test_json_round_trip(sample: Sample) -> None:
    assert Sample.from_json(sample.to_json()) == sample
    assert Sample.from_json(sample.to_json().encode()).to_json() == sample.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a sample but a list"),
        ('{"sample_id": "x"}', "sample x: not a sample"),
        (
            '{"sample_id":"x","task":"image_editing","split":"train","licence":"MIT","seed":1,"messages":'
            '[{"role":"user","content":[{"type":"image"}]}]}',
            "sample x: a image part must name its shard member",
        ),
    ],
)
def test_what_is_no_sample_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        Sample.from_json(text)
