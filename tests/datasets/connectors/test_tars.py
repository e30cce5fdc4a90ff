"""Tars as anyone packs them: in any order, with links, with what other systems leave, cut off, one behind the other."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.connectors import CorpusLocation, InputSplit
from codi2_datasets.corpora import SourceRow
from codi2_datasets.readers import tars
from codi2_datasets.readers.base import RowCount, RowResult
from codi2_datasets.readers.pairs import plain, tar_rows
from codi2_datasets.readers.tars import Sample

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHADOW = bytes.fromhex("00051607") + bytes(100)
JPEG = b"\xff\xd8\xff"  # enough to be taken for an image
Members = list[tuple[str, bytes | tuple[bytes, str]]]
PLAIN: Members = [(f"{n:03d}.{ending}", JPEG + b"%d" % n if ending == "jpg" else b"words %d" % n)
                  for n in range(4) for ending in ("jpg", "txt")]  # fmt: skip


def packed(members: Members, kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar; a member that is (type, target) is a link, a folder, or the like."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read(folder: Path, raw: bytes, name: str = "x.tar") -> list[Any]:
    (folder / name).write_bytes(raw)
    return [(one.key, one.members) if isinstance(one, Sample) else one for one in tars.samples(str(folder / name))]


def rows(folder: Path, raw: bytes) -> tuple[dict[str, str], int, int]:
    """Captions by locator, rows answered for, rows held."""
    (folder / "x.tar").write_bytes(raw)
    results = list(tar_rows(InputSplit(CorpusLocation("x", ""), str(folder / "x.tar"), ""), plain, ("image",), "MIT"))
    held = sum(one.rows for one in results if isinstance(one, RowCount))
    found = [one for one in results if isinstance(one, RowResult)]
    good = {
        row.locator.partition("#")[2]: row.caption for one in found for row in one.rows if isinstance(row, SourceRow)
    }
    return good, sum(one.inputs for one in found), held


@SOME
@given(data=st.data(), kind=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_samples_are_whole_in_any_order_and_beside_any_shadow(data: st.DataObject, kind: int, tmp_path: Path) -> None:
    prefix = data.draw(st.sampled_from(["", "./", "a/", "./a.b/", "/a/"]))
    own = data.draw(st.permutations([(prefix + name, content) for name, content in PLAIN]))
    shadows = [
        "._000.jpg",
        "._000.txt",
        ".DS_Store",
        "__MACOSX/._001.jpg",
        "Thumbs.db",
        "sub/desktop.ini",
        "sub/._x.jpg",
    ]
    extra = [(name, SHADOW) for name in data.draw(st.lists(st.sampled_from(shadows), unique=True))]
    extra += [("sub", (tarfile.DIRTYPE, ""))] if data.draw(st.booleans()) else []
    members: Members = data.draw(st.permutations([*own, *extra]))
    assert rows(tmp_path, packed(members, kind))[0] == {
        f"{prefix.removeprefix('./').lstrip('/')}{n:03d}": f"words {n}" for n in range(4)
    }


@SOME
@given(data=st.data())
def test_every_member_of_a_damaged_tar_is_accounted_for(data: st.DataObject, tmp_path: Path) -> None:
    raw = bytearray(packed(PLAIN, tarfile.GNU_FORMAT))
    for _ in range(data.draw(st.integers(0, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    _, answered, held = rows(tmp_path, cut)
    assert answered == held


@pytest.mark.parametrize(("cut", "samples"), [(0, 0), (512, 0), (700, 1), (1024, 1), (1536, 1), (3 * 1024 + 100, 2)])
def test_a_tar_that_is_cut_off_says_so(cut: int, samples: int, tmp_path: Path) -> None:
    *whole, last = read(tmp_path, packed(PLAIN, tarfile.GNU_FORMAT)[:cut])
    assert last[0] == "" and last[1].reason.startswith("damaged tar: ") and len(whole) == samples


def test_members_behind_a_damaged_header_are_found(tmp_path: Path) -> None:
    raw = bytearray(packed(PLAIN, tarfile.USTAR_FORMAT))
    raw[2 * 1024 + 3] ^= 1  # of 001.jpg
    assert rows(tmp_path, bytes(raw))[0] == {f"{n:03d}": f"words {n}" for n in (0, 2, 3)}
    assert [bad.reason for name, bad in read(tmp_path, bytes(raw)) if not name] == [
        "damaged tar: no header at byte 2,048"
    ]


def test_links_lead_to_what_they_name(tmp_path: Path) -> None:
    members: Members = [("d/a.jpg", JPEG), ("d/b.jpg", (tarfile.LNKTYPE, "d/a.jpg")), ("d/c.jpg", (tarfile.SYMTYPE, "b.jpg")),
                        ("e/d.jpg", (tarfile.SYMTYPE, "../d/a.jpg")), ("f.jpg", (tarfile.SYMTYPE, "/etc/passwd")),
                        ("g.jpg", (tarfile.SYMTYPE, "g.jpg")), ("h", (tarfile.FIFOTYPE, ""))]  # fmt: skip
    found = read(tmp_path, packed(members))
    assert found[:4] == [(key, {"jpg": JPEG}) for key in ("d/a", "d/b", "d/c", "e/d")]
    assert [(name, bad.reason) for name, bad in found[4:]] == [
        ("f.jpg", "a link to what is not in the tar"), ("g.jpg", "a link that leads to itself"), ("h", "no ordinary file")]  # fmt: skip


def test_names_are_kept_whatever_they_are(tmp_path: Path) -> None:
    names = [" blank first", "l" * 180, "caf\u00e9", "\udcff\udcfe", "a.b [c]"]
    members: Members = [(f"{name}.jpg", JPEG) for name in names]
    assert [key for key, _ in read(tmp_path, packed(members, tarfile.GNU_FORMAT))] == [*names[:4], "a"]
    upper = packed([("A.JPG", JPEG), ("A.TXT", b"words")])
    assert rows(tmp_path, upper)[0] == {"A": "words"}


def test_names_with_dots_do_not_mix_their_words(tmp_path: Path) -> None:
    members: Members = [(f"clip.{n}.5_{n}.jpg", JPEG + b"%d" % n) for n in range(3)]
    members += [(f"clip.{n}.5_{n}.txt", b"words %d" % n) for n in range(3)]
    assert rows(tmp_path, packed(members))[0] == {f"clip.{n}.5_{n}": f"words {n}" for n in range(3)}
    shared: Members = [("k.0.jpg", JPEG), ("k.1.jpg", JPEG + b"1"), ("k.txt", b"both")]
    assert rows(tmp_path, packed(shared))[0] == {"k.0.jpg": "both", "k.1.jpg": "both"}


def test_tars_behind_one_another_and_packed_ones_are_read_whole(tmp_path: Path) -> None:
    first, second = packed(PLAIN[:4]), packed(PLAIN[4:])
    whole = read(tmp_path, packed(PLAIN))
    assert read(tmp_path, first + second) == whole
    assert read(tmp_path, gzip.compress(first + second), "x.tar.gz") == whole
    assert read(tmp_path, bytes(10_240)) == [] and read(tmp_path, b"")[0][1].reason == "damaged tar: empty file"
    assert read(tmp_path, packed(PLAIN) + b"junk" * 200)[-1][1].reason.startswith("damaged tar: ")


def test_of_a_packed_tar_that_breaks_off_what_was_there_is_read(tmp_path: Path) -> None:
    noise = [(f"{n}.jpg", JPEG + random.Random(n).randbytes(2000)) for n in range(20)]
    raw = gzip.compress(packed(noise))
    *whole, last = read(tmp_path, raw[: len(raw) // 2], "x.tar.gz")
    assert 5 < len(whole) < 15 and last[1].reason.startswith("damaged tar: Compressed file ended")


def test_two_members_of_one_name_are_one_and_a_reject(tmp_path: Path) -> None:
    found = read(tmp_path, packed([("0.jpg", JPEG), ("0.JPG", JPEG + b"2")]))
    assert [name for name, _ in found] == ["0.JPG", "0"] and found[0][1].reason == "two members of one name"
