"""What the fetcher puts on the wire: the URL of the list, normalized as browsers do, and nothing else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codi2_datasets.connectors import Link
from codi2_datasets.fetching.client import Answer, Client, session_of
from codi2_datasets.fetching.fetch import fetch_list
from codi2_datasets.fetching.listing import linked, read_list
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.rules import Blocklist
from codi2_datasets.readers.values import listed_url, web_address
from codi2_storage.errors import UsageError
from codi2_storage.locations.urls import parse_url
from tests.storage.locations.test_urls import SIGNED, TARGETS
from tests.web import Reply, Site, site

EXACT = [
    SIGNED, "/proxy/https%3A%2F%2Fx.example%2F1.jpg", "/lower%c3%a9.jpg", "/plus+and%2B.jpg?q=a%26b%3Dc", "/r%7Eaw.jpg",
    "/semi%3Bcolon%2Ccomma;x.jpg?e=%2f", "/empty.jpg?", "/100%25.jpg?a=%2525", "/%zz.jpg", "//two//slashes.jpg", "/q?a?b=?",
    "/s3.jpg?X-Amz-Credential=A%2F20260101%2Fs3&X-Amz-SignedHeaders=host", "/cf.jpg?Policy=eyJ_&Signature=a~b-c__&Key-Pair-Id=K",
]  # fmt: skip
NORMALIZED = {
    "/a b.jpg": "/a%20b.jpg", "/é.jpg?ü": "/%C3%A9.jpg?%C3%BC", "/a\tb\n.jpg": "/ab.jpg", "\\back\\slash.jpg": "/back/slash.jpg",
    "/x/../y.jpg": "/y.jpg", "/f.jpg#fragment": "/f.jpg", "?q='x'": "/?q=%27x%27", "/trailing.jpg  ": "/trailing.jpg",
}  # fmt: skip
MOVED: dict[str, tuple[str | bytes, str]] = {
    "/to-signed": (f"{SIGNED}&moved=%3D%3a", f"{SIGNED}&moved=%3D%3a"),
    "/dir/to-relative": ("next%2f.jpg?", "/dir/next%2f.jpg?"),
    "/to-blank": ("/a b.jpg", "/a%20b.jpg"),
    "/to-utf8": ("/é.jpg".encode(), "/%C3%A9.jpg"),
    "/to-latin1": (b"/\xe9.jpg", "/%E9.jpg"),
}


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (80, 80), "red").save(out, "JPEG")
    return out.getvalue()


BODY = jpeg()


def reply(target: str) -> Reply:
    if target == "/robots.txt":
        return 200, {}, b"User-agent: *\nDisallow: /no/*.jpg$\nDisallow: /b%2fc\nAllow: /no/but.jpg\n"
    if target in MOVED:
        return 302, {"Location": MOVED[target][0]}, b""
    return (404, {}, b"") if target == "/.well-known/tdmrep.json" else (200, {"Content-Type": "image/jpeg"}, BODY)


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(reply) as found:
        yield found


def ask(urls: list[str], options: Options) -> list[Answer]:
    async def main() -> list[Answer]:
        async with session_of(options) as session:
            client = Client(options, session)
            return [await client.get(url) for url in urls]

    return asyncio.run(main())


OPEN = Options(hosts=("127.0.0.1", "localhost"), robots=False, retries=0)


def test_a_list_is_asked_for_as_it_is_written_through_redirects_too(web: Site, tmp_path: Path) -> None:
    expected = {**{target: target for target in EXACT}, **NORMALIZED, **{key: to for key, (_, to) in MOVED.items()}}
    pq.write_table(pa.table({"url": [f"{web.url}{target}" for target in expected]}), tmp_path / "list.parquet")
    web.targets.clear()
    counts = fetch_list(read_list(str(tmp_path / "list.parquet")), str(tmp_path / "out"), Options(hosts=("127.0.0.1",)))
    assert counts == {"ok": len(expected)}
    assert set(web.targets) == {"/robots.txt", "/.well-known/tdmrep.json", *expected.values(), *MOVED}
    kept = pq.read_table(tmp_path / "out" / "000000.parquet").column("url").to_pylist()
    assert {url.removeprefix(web.url).strip() for url in kept} == {target.strip() for target in expected}  # as listed


@settings(max_examples=60, deadline=None)  # over a socket
@given(TARGETS.filter(lambda target: "@" not in target))
def test_any_url_goes_out_as_it_is_normalized(web: Site, target: str) -> None:
    web.targets.clear()
    url = f"{web.url}/{target}"
    [answer] = ask([url], OPEN)
    assert answer.status == "ok" and web.targets[0] == parse_url(url).target


@settings(max_examples=30, deadline=None)  # over a socket
@given(st.text(st.characters(min_codepoint=0x21, exclude_characters="#\\", exclude_categories=["C", "Z"]), max_size=12))
def test_a_redirect_goes_out_as_browsers_resolve_it(web: Site, location: str) -> None:
    path = "/" + location.lstrip("/")
    MOVED["/first"] = path.encode(), ""
    web.targets.clear()
    [answer] = ask([f"{web.url}/first"], OPEN)
    assert answer.status == "ok" and web.targets == ["/first", parse_url(web.url + path).target]


def test_the_host_that_is_asked_is_the_one_that_was_checked(web: Site) -> None:
    port = web.url.rpartition(":")[2]
    web.targets.clear()
    spelled = ["127.1", "0x7f.0.0.1", "2130706433", "１２７.0.0.1", "127.0.0.%31", "[::ffff:7f00:1]", "LOCALHOST"]
    inside = [f"http://{host}:{port}/" for host in spelled]
    answers = ask([*inside, f"http:\\\\127.0.0.1:{port}\\@example.org/"], Options(robots=False, retries=0))
    assert {answer.status for answer in answers} == {"private_address"} and not web.targets
    assert [answer.status for answer in ask([f"http://127.1:{port}/a", f"http://LocalHost:{port}/b"], OPEN)] == [
        "ok",
        "ok",
    ]
    assert web.hosts[-2:] == [f"127.0.0.1:{port}", f"localhost:{port}"]


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.org/", "http://u:p@example.org/", "http://u@example.org/", "http://[::1/", "http://e.com:99999/"])  # fmt: skip
def test_what_cannot_be_asked_for_says_why(url: str) -> None:
    [answer] = ask([url], OPEN)
    assert answer.status == "bad_address" and answer.error and "p@" not in answer.error


def test_robots_txt_is_matched_against_what_is_asked_for(web: Site) -> None:
    urls = [
        f"{web.url}{target}"
        for target in ("/no/1.jpg", "/no/but.jpg", "/no/1.jpg.html", "/b/c", "/b%2Fc", "/%6eo/1.jpg", "/x/../no/1.jpg")
    ]
    answers = ask(urls, Options(hosts=("127.0.0.1",), retries=0))
    assert [answer.status for answer in answers] == ["robots", "ok", "ok", "ok", "robots", "robots", "robots"]


def test_a_blocklist_and_allowed_hosts_know_a_host_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("BÜCHER.example\n*.日本.example  # all below\nhttp://E.com/%7Euser\n")
    blocked = Blocklist.read(tmp_path / "blocked.txt")
    for url in (
        "http://bücher.example/",
        "http://xn--bcher-kva.example./",
        "http://a.xn--wgv71a.example/",
        "http://e.com/~user/x",
    ):
        assert blocked.holds(parse_url(url))
    assert not blocked.holds(parse_url("http://e.com/other"))
    (tmp_path / "blocked.txt").write_text("good.example\nhttp://\n")
    with pytest.raises(ValueError, match=r"blocked\.txt, line 2: http://"):
        Blocklist.read(tmp_path / "blocked.txt")
    with pytest.raises(UsageError, match=r"allow host: 'a:80'"):
        Options(hosts=("a:80",))


@pytest.mark.parametrize(
    "url",
    [
        "http://e.com/a  b.jpg",
        "http://e.com/a%2Fb?c=%2B",
        "https://bücher.example/é",
        "http://e.com/a\tb",
        "HTTP:\\\\e.com\\a",
    ],
)
def test_a_column_of_urls_is_read_as_it_is_written(url: str) -> None:
    assert web_address(f" {url}\n") == listed_url(url) == url
    assert linked("l#1", {"url": url}) == Link("l#1", url, attributes={"url": url})


@pytest.mark.parametrize(
    "url", [None, 5, "", " ", "nan", "null", "e.com/a.jpg", "ftp://e.com/", "http://", "http://e.com/\ud800"]
)
def test_a_column_that_holds_no_url_of_the_web_gives_none(url: object) -> None:
    assert web_address(url) == ""
