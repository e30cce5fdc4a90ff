"""URLs as browsers ask for them; the expected values are those of the WHATWG URL Standard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codi2_storage.locations.filesystems import system_of
from codi2_storage.locations.urls import UrlError, parse_host, parse_url
from codi2_storage.store import Store
from tests.web import Reply, Site, site

SIGNED = "/a%28b%29%3A%27c%40d.jpg?X-Amz-Signature=x%3A1%2Bz%3D&Policy=a%7Eb__"
NORMALIZED = {
    "http://e.com": "http://e.com/",
    "HTTP://E.COM:80/A": "http://e.com/A",
    "https://e.com:443/": "https://e.com/",
    "https://e.com:80/": "https://e.com:80/",
    "http://e.com?q": "http://e.com/?q",
    "http://e.com/a?": "http://e.com/a?",
    "http://e.com/a?#b": "http://e.com/a?",
    "http://e.com/a#b?c": "http://e.com/a",
    "  http://e.com/a b\tc\n?d e ": "http://e.com/a%20bc?d%20e",
    "http://e.com\\a\\b?c\\d": "http://e.com/a/b?c\\d",
    "http:e.com/a": "http://e.com/a",
    "http://e.com/a/./b/../c/%2e%2E/d": "http://e.com/a/d",
    "http://e.com/../../a": "http://e.com/a",
    "http://e.com//a//b": "http://e.com//a//b",
    "http://e.com/%2F%2f%25%2B+;%3B%c3%A9%zz%": "http://e.com/%2F%2f%25%2B+;%3B%c3%A9%zz%",
    "http://e.com/a%7Eb~(c)?d=%2B+;e='f'": "http://e.com/a%7Eb~(c)?d=%2B+;e=%27f%27",
    "http://e.com/é?ü=日": "http://e.com/%C3%A9?%C3%BC=%E6%97%A5",
    'http://e.com/"<>`{}[]|': "http://e.com/%22%3C%3E%60%7B%7D[]|",
    "http://e.com/\ud800": "http://e.com/%EF%BF%BD",
    "http://BÜCHER.example/": "http://xn--bcher-kva.example/",
    "http://faß.de/": "http://xn--fa-hia.de/",
    "http://ex%41mple.com。/": "http://example.com./",
    "http://127.1/": "http://127.0.0.1/",
    "http://0x7f000001:8080/": "http://127.0.0.1:8080/",
    "http://[0:0::1]:80/": "http://[::1]/",
    "http://@e.com/": "http://e.com/",
}


@pytest.mark.parametrize(("given", "href"), NORMALIZED.items())
def test_a_url_is_normalized_as_browsers_do(given: str, href: str) -> None:
    url = parse_url(given)
    assert url.href == href == url.origin + url.target and url.path == url.target.split("?")[0]


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "/a.jpg", "//e.com/a", "ftp://e.com/", "data:,a", "http://", "http://e.com:0/", "http://e.com:65536/",
     "http://1.2.3.4.5/", "http://[::1%25eth0]/", "http://a b/", "http://a<b/", "javascript:1", "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_url_of_the_web_is_an_error(text: str) -> None:
    with pytest.raises(UrlError):
        parse_url(text)


ATOMS = st.sampled_from([*"%/\\?#+;&='\"<>|^`{}[]:~*()!,$. \t\n@aZ09-_", "%2F", "%2f", "%25", "%zz", "..", "%2e", "é", "日", "😀", "\ud800"])  # fmt: skip
TARGETS = st.lists(ATOMS, max_size=12).map("".join)


@given(TARGETS)
@example("/a?")
def test_normalizing_twice_is_normalizing_once(target: str) -> None:
    url = parse_url(f"http://e.com/{target}")
    assert parse_url(url.href) == url and url.href.isascii() and " " not in url.target


@given(st.text(st.sampled_from("%2fFbB+&=;~:@/aZ09-._"), max_size=20).filter(lambda text: "." not in text))
def test_what_a_url_may_hold_stays_byte_for_byte(text: str) -> None:
    assert parse_url(f"http://e.com/x{text}?{text}").target == f"/x{text}?{text}"


@pytest.mark.parametrize(
    ("location", "target"),
    [("b.jpg", "/a/b.jpg"), ("../%2F.jpg", "/%2F.jpg"), ("?x=%3d", "/a/c?x=%3d"), ("", "/a/c?q"), (SIGNED, SIGNED),
     ("//e.com/é", "/%C3%A9"), ("/\udce9.jpg", "/%E9.jpg"), (b"/\xc3\xa9 \xe9", "/%C3%A9%20%E9"), ("/a\\b#c", "/a/b")],
)  # fmt: skip
def test_a_redirect_leads_where_a_browser_would_go(location: str | bytes, target: str) -> None:
    url = parse_url("http://e.com/a/c?q").redirect(location)
    assert (url.host, url.target) == ("e.com", target)


def test_a_redirect_to_a_host_beyond_ascii_is_followed_by_its_encoded_name() -> None:
    assert parse_url("http://e.com/").redirect("https://bücher.example/").host == "xn--bcher-kva.example"
    assert parse_url("http://e.com/").redirect("//u:p@e.com/").credentials
    with pytest.raises(UrlError):
        parse_url("http://e.com/").redirect("ftp://e.com/")


def test_hosts_of_options_are_spelled_as_those_of_urls() -> None:
    assert [parse_host(name) for name in ("BÜCHER.de", "127.1", "::1", "[::1]", "localhost")] == [
        "xn--bcher-kva.de", "127.0.0.1", "[::1]", "[::1]", "localhost",
    ]  # fmt: skip
    for name in ("", "e.com:80", "e.com/a", "u@e.com", "a b", "http://e.com"):
        with pytest.raises(UrlError, match="not a host"):
            parse_host(name)


# --- over fsspec -----------------------------------------------------------------------------------------------------


def reply(target: str) -> Reply:
    if target == "/moved%2f":
        return 302, {"Location": f"{SIGNED}&moved=%3D%3a"}, b""
    if target == "/moved-raw":
        return 302, {"Location": "/é b.txt".encode()}, b""
    return 200, {}, target.encode()


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(reply) as found:
        yield found


@pytest.mark.parametrize(
    ("target", "asked"),
    [(SIGNED, SIGNED), ("/a%2Fb%2fc%7E", "/a%2Fb%2fc%7E"), ("/a b;é", "/a%20b;%C3%A9"), ("/x::y?u=s3::z", "/x::y?u=s3::z"),
     ("/moved%2f", f"{SIGNED}&moved=%3D%3a"), ("/moved-raw", "/%C3%A9%20b.txt")],
)  # fmt: skip
def test_a_file_of_the_web_is_asked_for_by_its_url_as_it_is_written(web: Site, target: str, asked: str) -> None:
    fs, path = system_of(f"{web.url}{target}")
    assert fs.cat_file(path) == asked.encode()
    with fs.open(path, "rb") as file:
        assert file.read() == asked.encode()
    store = Store(f"{web.url}{target}")
    assert store.read_bytes("") == asked.encode()


def test_a_chained_uri_asks_for_the_url_as_it_is_written(web: Site) -> None:
    fs, path = system_of(f"simplecache::{web.url}/a%2Fb%7E")
    assert fs.cat_file(path) == b"/a%2Fb%7E"
