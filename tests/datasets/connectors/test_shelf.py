"""Files of a corpus and media in its folders: found by their names as these are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from codi2_datasets.readers import files
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.shelf import shelved
from codi2_datasets.sources.registries import SourceUnavailable


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    files.keep_for("")


def look_up(folder: Path, *names: str, modalities: Sequence[str] = ("audio",)) -> str:
    """Where the medium was found, or why it was not."""
    found = shelved(str(folder), names, modalities)
    return found.place if isinstance(found, RawMedium) else found.reason


@pytest.mark.parametrize(
    "name", [" blank first.wav", "two  blanks .wav", "a.b.c.WAV", "x [1]*?.wav", "50% #1.wav", "o'clock.wav"]
)
def test_a_medium_is_found_by_its_name(name: str, making: ModuleType, tmp_path: Path) -> None:
    making.write(tmp_path / "in [1]" / name, making.tone(1))
    making.write(tmp_path / "in [1]" / "x 1ab.wav", making.tone(2))
    making.write(tmp_path / "in [1]" / f"._{name}", b"\0\5\x16\7")
    for asked in (name, name.rpartition(".")[0], f"in [1]/{name}"):
        assert look_up(tmp_path, asked) == f"in [1]/{name}"


def test_letters_with_marks_are_written_in_two_ways(making: ModuleType, tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name = unicodedata.normalize(form, f"caf\u00e9 {form}.wav")
        making.write(tmp_path / name, making.tone(1))
        files.keep_for("")
        assert look_up(tmp_path, unicodedata.normalize(other, name)).endswith(name)


def test_the_folder_of_a_name_counts_and_what_lies_in_several_is_none(making: ModuleType, tmp_path: Path) -> None:
    for n, folder in enumerate(("train", "test", "my train")):
        making.write(tmp_path / folder / "1.wav", making.tone(n))
    assert look_up(tmp_path, "train/1.wav", "1.wav") == "train/1.wav"
    assert look_up(tmp_path, "1.wav") == "its medium lies in several folders: my train/1.wav, test/1.wav, train/1.wav"
    assert look_up(tmp_path, "2.wav", "rain/1.wav") == "its medium is not in the folder"
    making.write(tmp_path / "clips" / "3.mp4", making.clip(1))
    making.write(tmp_path / "sounds" / "3.wav", making.tone(3))
    files.keep_for("")
    assert look_up(tmp_path, "3", modalities=("audio", "video")) == "sounds/3.wav"


def test_what_other_systems_leave_is_no_file_of_a_corpus(tmp_path: Path) -> None:
    names = ("a.csv", "B.CSV", "._a.csv", "__MACOSX/a.csv", ".DS_Store", "Thumbs.db", "sub/desktop.ini", "@eaDir/a.csv")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [Path(name).name for name in files.find(str(tmp_path), ("*.csv", "*.ini", "*.db"))] == ["B.CSV", "a.csv"]
    assert [Path(name).name for name in files.find(f"{tmp_path}/*.csv", ())] == ["a.csv"]
    assert files.find(f"{tmp_path}/._a.csv", ()) == [f"{tmp_path}/._a.csv"]  # asked for by its name


def test_a_path_that_exists_is_that_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a [1].csv", "a 1.csv", "a;b.csv", " b.csv", "$HOME x.csv"):
        (tmp_path / name).write_bytes(b"")
    for name in ("a [1].csv", "a;b.csv", " b.csv", "$HOME x.csv"):
        assert files.find(files.expand(f"{tmp_path}/{name}"), ()) == [f"{tmp_path}/{name}"]
    both = f"{tmp_path}/a [1].csv; {tmp_path}/a?1.csv"
    assert files.find(both, ()) == [f"{tmp_path}/a 1.csv", f"{tmp_path}/a [1].csv"]
    monkeypatch.chdir(tmp_path)
    assert [Path(name).name for name in files.find("a [1].csv", ())] == ["a [1].csv"]
    with pytest.raises(SourceUnavailable, match="no file there"):
        files.find(f"{tmp_path}/b [1].csv", ())
