"""Which code made a thing: the commit, and whether the checkout held more than it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from codi2_storage.catalog.lineage import checkout_version


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "store.py").write_text("ONE = 1\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "storage"], [*author, "commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_clean_checkout_is_named_by_its_commit(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("no code")
    assert len(checkout_version(checkout)) == 12


def test_changes_show_in_the_version_and_equal_ones_equally(checkout: Path) -> None:
    clean = checkout_version(checkout)
    (checkout / "storage" / "store.py").write_text("ONE = 2\n")
    changed = checkout_version(checkout)
    assert changed.startswith(f"{clean}.dirty.") and changed == checkout_version(checkout)
    (checkout / "storage" / "new.py").write_text("TWO = 2\n")
    assert checkout_version(checkout) not in (clean, changed)
    (checkout / "storage" / "new.py").unlink()
    (checkout / "storage" / "store.py").write_text("ONE = 1\n")
    assert checkout_version(checkout) == clean


def test_code_that_no_repository_keeps_has_no_commit(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert checkout_version(tmp_path_factory.mktemp("nowhere")) == ""
    installed = checkout / "site-packages"  # inside somebody's repository, and not part of it
    (installed / "storage").mkdir(parents=True)
    (installed / "storage" / "store.py").write_text("")
    assert checkout_version(installed) == ""
