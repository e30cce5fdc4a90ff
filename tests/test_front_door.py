"""The front door: README, CONTRIBUTING, CHANGELOG and decisions agree with the commands and the files that they name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from codi2_flows.cli.main import GROUPS, app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/corpora.md", "docs/extending.md", "docs/glossary.md", "docs/decisions/README.md",
]  # fmt: skip


def quickstart() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_lists_every_command_once_in_the_groups_of_the_help() -> None:
    listed: dict[str, list[str]] = {}
    title = ""
    for group, name in re.findall(r"^\| *([^|]*?) *\| `codi2 (\w+)", README, re.MULTILINE):
        title = group.strip("*") or title
        listed.setdefault(title, []).append(name)
    assert {title: tuple(names) for title, names in listed.items()} == GROUPS
    assert sorted(name for name in app if not name.startswith("-")) == sorted(
        name for names in listed.values() for name in names
    )


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()]


def test_every_decision_is_in_the_index() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    files = sorted(file.name for file in DECISIONS.glob("[0-9]*.md"))
    assert sorted(re.findall(r"^\| \[\d+\]\(([^)]+)\)", index, re.MULTILINE)) == files


def test_the_quickstart_has_at_most_twelve_lines_of_code() -> None:
    assert len([line for line in quickstart().splitlines() if line]) <= 12


@pytest.mark.slow
def test_the_quickstart_saves_an_image(tmp_path: Path) -> None:
    code = quickstart().replace("apple.png", (tmp_path / "apple.png").as_posix())
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=250)
    assert (tmp_path / "apple.png").stat().st_size > 500
