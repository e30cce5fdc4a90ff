"""The engine: every item once, errors as they were, lost workers replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codi2_datasets.engine import LOOPBACK_ENVIRONMENT, quiet_ray_home, spread
from codi2_datasets.media import MediaError


def square(n: int) -> int:
    return n * n


def refuse(n: int) -> int:
    raise MediaError(f"item {n} is broken")


def die_once(item: tuple[str, int]) -> int:
    folder, n = item
    mark = Path(folder) / str(n)
    if n == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return n


def test_every_item_comes_back_once(ray_cluster: None) -> None:
    assert sorted(spread(square, range(20), 2)) == [(n, n * n) for n in range(20)]
    assert list(spread(square, [], 2)) == []


def test_an_error_is_raised_as_it_was(ray_cluster: None) -> None:
    with pytest.raises(MediaError, match=r"item \d is broken"):
        list(spread(refuse, range(4), 2))


def test_a_lost_worker_loses_no_item(ray_cluster: None, tmp_path: Path) -> None:
    items = [(str(tmp_path), n) for n in range(6)]
    assert sorted(result for _, result in spread(die_once, items, 2)) == list(range(6))


def test_ray_is_told_that_it_is_local(ray_cluster: None) -> None:
    assert all(os.environ[name] == value for name, value in LOOPBACK_ENVIRONMENT.items())
    assert "provider: {type: local}" in (quiet_ray_home() / "ray_bootstrap_config.yaml").read_text()
    assert Path.home() != quiet_ray_home()
