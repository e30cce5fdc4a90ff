"""The registry of parts: from files and from installed packages, with errors that name where a part comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codi2_datasets.runtime.plugins import Kind, LazyKind, PluginError

NAMED = "class Named:\n    def __init__(self, name): self.name = name\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with the package `host`, which has the part `own`, and an installed package `guest` without parts."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "__init__.py").write_text("")
    (tmp_path / "host" / "own.py").write_text(f"{NAMED}PART = Named('own')\n")
    (tmp_path / "guest.py").write_text(
        f"{NAMED}PART = Named('guest')\nTWO = (Named('a'), Named('b'))\nSAME = Named('own')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("host", "guest")]:
        del sys.modules[name]


def declare(site: Path, *points: str) -> None:
    """Entry points of the package `guest`, in the group codi2.things."""
    info = site / "guest-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[codi2.things]\n" + "\n".join(points) + "\n")


def test_parts_are_of_the_folder_and_of_installed_packages(site: Path) -> None:
    kind = Kind("things", "host", "PART")
    assert kind.origins() == {"own": "host.own"}
    declare(site, "x = guest:PART", "y = guest:TWO")
    assert kind.origins() == {"a": "guest 2.0", "b": "guest 2.0", "guest": "guest 2.0", "own": "host.own"}
    assert list(kind.parts()) == ["a", "b", "guest", "own"]


def test_lazy_parts_are_imported_on_use(site: Path) -> None:
    kind = LazyKind("things", "host", "PART")
    declare(site, "far = guest:PART", "lost = guest:NOTHING")
    assert kind.names() == ["far", "lost", "own"]
    assert not {"host.own", "guest"} & set(sys.modules)
    assert (kind.part("far").name, kind.part("own").name) == ("guest", "own")
    with pytest.raises(PluginError, match=r"unknown things 'ow', expected one of far, lost, own"):
        kind.part("ow")
    with pytest.raises(PluginError, match=r"guest 2\.0: guest:NOTHING cannot be loaded: .*NOTHING"):
        kind.part("lost")


@pytest.mark.parametrize("kind", [Kind("things", "host", "PART"), LazyKind("things", "host", "PART")])
def test_two_parts_of_one_name_are_named_with_their_places(site: Path, kind: Kind) -> None:
    declare(site, "own = guest:SAME")
    with pytest.raises(PluginError, match=r"two parts are named 'own', in host\.own and in guest 2\.0"):
        kind.origins()


def test_a_file_without_its_part_is_named(site: Path) -> None:
    (site / "host" / "typo.py").write_text("PRAT = 1\n")
    assert list(Kind("things", "host", "PART").parts()) == ["own"]
    with pytest.raises(PluginError, match=r"host\.typo: defines no PART"):
        Kind("things", "host", "PART", required=True).parts()
    (site / "host" / "nameless.py").write_text("PART = 1\n")
    with pytest.raises(PluginError, match=r"host\.nameless: PART has no 'name'"):
        Kind("things", "host", "PART").parts()
