"""Sources are fetched by the real clients; whatever is wrong with one is said in one line."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fsspec
import pytest

from codi2_datasets.recipe_schema import CorpusChoice, Recipe
from codi2_datasets.sources import registries
from codi2_datasets.sources.fetch import Fetched, SourceDamaged, SourceUnavailable, fetch, pinned, remember
from codi2_datasets.steps.ingest import refresh_sources
from tests.web import site

FXEMOJI = "npm:@iconify-json/fxemoji@1.2.2"
FXEMOJI_SHA256 = "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"


def needs(client: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(client) is None, reason=f"{client} is not installed")


def no_clients(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From here on no client can be found and none can be run."""
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a client was run: {args}")

    monkeypatch.setattr(registries, "run", refuse)


def tar_bytes(*members: tuple[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return buffer.getvalue()


def leftovers(cache: Path) -> list[str]:
    """What a failed fetch has left behind."""
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


@needs("npm")
def test_npm_package_is_fetched_once_and_then_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = fetch(FXEMOJI, cache)
    assert (first.name, first.version, first.sha256) == ("@iconify-json/fxemoji", "1.2.2", FXEMOJI_SHA256)
    assert (first.path / "package" / "icons.json").is_file()
    assert (cache / "archives" / FXEMOJI_SHA256).is_file()
    no_clients(monkeypatch, tmp_path / "empty")
    assert fetch(FXEMOJI, cache) == first
    shutil.rmtree(first.path)  # unpacked again from the archive
    assert fetch(FXEMOJI, cache) == first
    assert (first.path / "package" / "icons.json").is_file()


@needs("npm")
def test_unpinned_source_records_the_version_it_got(tmp_path: Path) -> None:
    fetched = fetch("npm:@iconify-json/fxemoji", tmp_path)
    assert fetched.version.count(".") == 2
    assert fetch("npm:@iconify-json/fxemoji", tmp_path) == fetched


def test_pypi_wheel_is_unpacked_with_its_version(tmp_path: Path) -> None:
    fetched = fetch("pypi:iniconfig", tmp_path)
    assert fetched.name == "iniconfig"
    assert (fetched.path / "iniconfig" / "__init__.py").is_file()


@needs("apt-get")
def test_deb_is_unpacked_without_its_scripts(tmp_path: Path) -> None:
    fetched = fetch("deb:hello", tmp_path)
    assert fetched.name == "hello" and fetched.version
    assert (fetched.path / "usr" / "bin" / "hello").is_file()
    assert not (fetched.path / "DEBIAN").exists()


@needs("apt-get")
def test_deb_is_had_where_the_package_lists_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "apt.conf"
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    config.write_text(f'Dir::State::lists "{tmp_path}/lists";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert fetch("deb:hello", tmp_path / "cache").name == "hello"


@pytest.mark.parametrize(
    ("source", "client"),
    [
        ("npm:@iconify-json/no-such-set-of-icons@9.9.9", "npm"),
        ("pypi:iniconfig==99.99.99", "python3"),
        ("deb:no-such-package-at-all", "apt-get"),
        ("file:/no/such/folder", "python3"),
        ("memory://no/such/file.zip", "python3"),
        ("nosuchscheme://bucket/file.zip", "python3"),
    ],
)
def test_what_cannot_be_had_is_named_with_reason_and_remedy(source: str, client: str, tmp_path: Path) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    with pytest.raises(SourceUnavailable) as caught:
        fetch(source, tmp_path)
    assert caught.value.source == source and caught.value.reason and caught.value.remedy
    assert str(caught.value).startswith(f"{source}: ") and "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("source", [FXEMOJI, "deb:hello"])
def test_absent_client_is_named(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(SourceUnavailable, match=r"is not installed; .*optional in the recipe"):
        fetch(source, tmp_path / "cache")


def test_pip_is_taken_from_the_path_where_this_python_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registries.importlib.metadata, "distributions", lambda name: iter(()))
    monkeypatch.setenv("PATH", str(tmp_path))
    pip3 = tmp_path / "pip3"
    pip3.write_text("#!/bin/sh\n")
    pip3.chmod(0o755)
    assert registries.pip_command() == ["pip3"]


def test_the_search_for_pip_leaves_the_compilers_imports_alone() -> None:
    """In Python 3.11 setuptools gives way to a pip that is searched for; torch.compile then found no distutils of its own."""
    code = "from codi2_datasets.sources.registries import pip_command; pip_command(); import setuptools"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("source", ["", "npm", "npm:", "a b c", "file:x#sha256=12"])
def test_malformed_source_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        fetch(source, tmp_path)


PAYLOAD = bytes(range(256)) * 400


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tar.gz", tar_bytes(("x", PAYLOAD))),
        ("a.tar.xz", tar_bytes(("x", PAYLOAD), mode="w:xz")),
        ("a.tar.bz2", tar_bytes(("x", PAYLOAD), mode="w:bz2")),
        ("a.tar", tar_bytes(("x", PAYLOAD), mode="w")),
        ("a.zip", zip_bytes(("x", PAYLOAD))),
    ],
)
def test_truncated_archive_is_an_error_and_leaves_nothing(name: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    assert (fetch(f"file:{file}", tmp_path / "good").path / "x").read_bytes() == PAYLOAD
    for share in (0.0, 0.1, 0.5, 0.9):
        file.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(SourceDamaged, match=name):
            fetch(f"file:{file}", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


@needs("dpkg-deb")
def test_truncated_deb_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    build = tmp_path / "build"
    (build / "DEBIAN").mkdir(parents=True)
    (build / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: tiny\n"
    )
    (build / "x").write_bytes(PAYLOAD)
    file = tmp_path / "tiny.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", build, file], check=True, capture_output=True)
    data = file.read_bytes()
    assert (fetch(f"file:{file}", tmp_path / "good").path / "x").read_bytes() == PAYLOAD
    for cut in (20, len(data) // 2, len(data) - 8):
        file.write_bytes(data[:cut])
        with pytest.raises(SourceDamaged, match=r"tiny\.deb"):
            fetch(f"file:{file}", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "/tmp/codi2-escaped"])
def test_member_outside_of_the_package_is_refused(name: str, tmp_path: Path) -> None:
    for suffix, data in (("tar.gz", tar_bytes((name, b"bad"))), ("zip", zip_bytes((name, b"bad")))):
        file = tmp_path / f"hostile.{suffix}"
        file.write_bytes(data)
        if suffix == "tar.gz" and name.startswith("/"):  # Python's rule takes the slash away: it lands inside
            assert (fetch(f"file:{file}", tmp_path / "cache").path / name[1:]).is_file()
        else:
            with pytest.raises(SourceDamaged, match="refused"):
                fetch(f"file:{file}", tmp_path / "cache")
    assert not list(tmp_path.rglob("escaped")) and not Path("/tmp/codi2-escaped").exists()


def test_link_out_of_the_package_is_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, target in (("out", "/etc/passwd"), ("up", "../../../x"), ("inside", "kept")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        info = tarfile.TarInfo("kept")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"ok"))
    file = tmp_path / "links.tar.gz"
    file.write_bytes(buffer.getvalue())
    folder = fetch(f"file:{file}", tmp_path / "cache").path
    assert sorted(path.name for path in folder.iterdir()) == ["inside", "kept"]
    assert (folder / "inside").read_bytes() == b"ok"


def test_wrong_sha256_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(zip_bytes(("x", b"1")))
    right = registries.file_hash(file)
    assert fetch(f"file:{file}#sha256={right}", tmp_path / "cache").sha256 == right
    with pytest.raises(SourceDamaged, match="sha256"):
        fetch(f"file:{file}#sha256={'0' * 64}", tmp_path / "cache")


def test_any_fsspec_uri_is_cached_by_content(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/corpora/a.zip", zip_bytes(("x", PAYLOAD)))
    files.pipe("/corpora/words.txt", b"one file alone")
    archive = fetch("memory://corpora/a.zip", tmp_path)
    single = fetch("memory://corpora/words.txt", tmp_path)
    files.rm("/corpora", recursive=True)
    shutil.rmtree(single.path)
    assert (fetch("memory://corpora/a.zip", tmp_path).path / "x").read_bytes() == PAYLOAD
    assert (fetch("memory://corpora/words.txt", tmp_path).path / "words.txt").read_bytes() == b"one file alone"
    assert archive.sha256 != single.sha256
    with pytest.raises(SourceUnavailable):
        fetch("memory://corpora/a.zip", tmp_path, refresh=True)


def test_a_source_of_the_web_is_asked_for_by_its_url_as_it_is_written(tmp_path: Path) -> None:
    signed = f"/{'deep%2F' * 40}a%20b.zip?X-Amz-Signature=x%3A1%2Bz%3D&Policy=a%7Eb"
    content = zip_bytes(("hello.txt", b"hello"))
    with site(lambda target: (200, {}, content) if target == signed else (302, {"Location": signed}, b"")) as web:
        for target in (signed, "/moved%2f.zip"):
            found = fetch(f"{web.url}{target}", tmp_path / target.strip("/")[:6])
            assert (found.path / "hello.txt").read_bytes() == b"hello"
        assert set(web.targets) == {signed, "/moved%2f.zip"}


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/corpora/b.zip", zip_bytes(("x", PAYLOAD)))
    first = fetch("memory://corpora/b.zip", tmp_path)
    (tmp_path / "archives" / first.sha256).write_bytes(b"half")
    shutil.rmtree(first.path)
    assert fetch("memory://corpora/b.zip", tmp_path) == first
    assert (first.path / "x").read_bytes() == PAYLOAD
    for record in (tmp_path / "index").iterdir():
        record.write_text('{"name": ')
    assert fetch("memory://corpora/b.zip", tmp_path) == first


def test_folder_is_used_in_place_and_known_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "x").write_text("1")
    first = fetch(f"file:{folder}", tmp_path / "cache")
    assert first.path == folder and fetch(f"file:{folder}", tmp_path / "cache") == first
    (folder / "deep" / "x").write_text("2")
    assert fetch(f"file:{folder}", tmp_path / "cache").sha256 != first.sha256


def fetch_there(arguments: tuple[str, Path]) -> Fetched:
    return fetch(*arguments)


def test_two_processes_may_fetch_the_same_source_at_once(tmp_path: Path) -> None:
    file = tmp_path / "many.tar.gz"
    file.write_bytes(tar_bytes(*((f"folder/{n}", PAYLOAD) for n in range(300))))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(fetch_there, [(f"file:{file}", tmp_path / "cache")] * 4))
    assert len(set(results)) == 1
    assert len(list((results[0].path / "folder").iterdir())) == 300
    assert [path.name for path in (tmp_path / "cache" / "unpacked").iterdir()] == [results[0].sha256]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("npm:@iconify-json/noto@1.2.9", True), ("npm:@iconify-json/noto", False), ("pypi:chitchat-dataset==0.9.0", True),
        ("pypi:chitchat-dataset", False), ("deb:sonic-pi-samples", False), ("deb:sonic-pi-samples=1", True),
        ("https://example.org/a.zip", False), (f"https://example.org/a.zip#sha256={'0' * 64}", True), ("file:mine", True),
    ],
)  # fmt: skip
def test_a_name_with_its_version_is_not_asked_for_again(source: str, told: bool) -> None:
    assert pinned(source) is told


@needs("apt-get")
def test_a_package_that_was_renewed_is_found_by_a_refresh_and_kept_where_it_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = tmp_path / "sources", "deb:openttd-opensfx"
    monkeypatch.setenv("CODI2_CACHE", str(tmp_path))
    recipe = Recipe("r", 0, corpora=(CorpusChoice("opensfx"),), tasks={})
    old = Fetched(cache / "unpacked" / ("0" * 64), source, "openttd-opensfx", "0.0", "0" * 64)
    old.path.mkdir(parents=True)
    remember(cache, old, "openttd-opensfx_0.0.deb")
    now = fetch(source, tmp_path / "elsewhere")
    assert refresh_sources(recipe) == [f"{source}: 0.0 -> {now.version}"]
    assert refresh_sources(recipe) == []
    monkeypatch.setenv("PATH", "")
    [line] = refresh_sources(recipe)
    assert line.startswith(f"not refreshed: {source}") and fetch(source).sha256 == now.sha256
