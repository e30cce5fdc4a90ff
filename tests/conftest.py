"""Shared by all tests: one Ray for the session, one cache of sources, nothing that phones home."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of two CPUs, on loopback."""
    from codi2_datasets.engine import local_cluster

    with local_cluster(2):
        yield
