"""Licences: nothing is fused or put side by side that its authors did not allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.planning.licences import KNOWN, PERMISSIVE, fusable, fuse_all, strictest

licences = st.sampled_from(KNOWN)


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("MIT", "CC0-1.0", "MIT"),
        ("MIT", "CC-BY-4.0", "CC-BY-4.0"),
        ("CC0-1.0", "GPL-2.0-or-later", "GPL-2.0-or-later"),
        ("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("Apache-2.0", "GPL-2.0-or-later", "GPL-3.0-or-later"),
        ("Apache-2.0", "GPL-2.0-only", None),
        ("CC-BY-SA-4.0", "GPL-2.0-or-later", None),
        ("CC-BY-SA-3.0", "GPL-3.0-or-later", None),
        ("CC-BY-3.0", "GPL-2.0-or-later", None),
        ("MIT", "LicenseRef-unknown", None),
        ("LicenseRef-unknown", "LicenseRef-unknown", "LicenseRef-unknown"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", None),
    ],
)
def test_one_work_made_of_two(a: str, b: str, result: str | None) -> None:
    assert fusable(a, b) == fusable(b, a) == result


@pytest.mark.parametrize(
    ("parts", "result"),
    [
        (["MIT", "Apache-2.0", "CC-BY-4.0"], "CC-BY-4.0"),
        (["MIT", "MIT"], "MIT"),
        (["CC-BY-SA-4.0", "MIT", "CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["Apache-2.0", "GPL-2.0-or-later"], "GPL-2.0-or-later"),  # side by side, not fused
        (["CC-BY-SA-4.0", "GPL-2.0-or-later"], None),
        (["MIT", "LicenseRef-unknown"], None),
        (["LicenseRef-unknown"], "LicenseRef-unknown"),
    ],
)
def test_parts_side_by_side(parts: list[str], result: str | None) -> None:
    assert strictest(parts) == result


def test_no_licence_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no licences"):
        strictest([])


@given(st.lists(licences, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(parts: list[str], random) -> None:
    shuffled = parts * 2
    random.shuffle(shuffled)
    assert strictest(shuffled) == strictest(parts)
    assert fuse_all(shuffled) == fuse_all(parts)


@given(licences, licences)
def test_a_fusion_never_asks_less_than_its_parts(a: str, b: str) -> None:
    result = fusable(a, b)
    assert fusable(a, a) == a
    if result is not None and {a, b} != {"GPL-2.0-only", "GPL-2.0-or-later"}:
        assert KNOWN.index(result) >= max(KNOWN.index(a), KNOWN.index(b))
    if a in PERMISSIVE and b in PERMISSIVE:
        assert result in (a, b)
