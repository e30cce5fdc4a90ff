"""Addresses, JSON, headers and paths as nobody sends them who means well."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

ALLOWED = "media.example.org"  # a host that the server under test fetches from
INSIDE = ("127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1")
PRIVATE = (
    *INSIDE, "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1",
    "::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "ff02::1", "198.18.0.1", "192.0.2.1", "240.0.0.1",
)  # fmt: skip
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９．")
CIRCLED = str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")


def spellings(address: str) -> list[str]:
    """An IPv4 address as a host name of a URL, in the ways that some resolver understands; ASCII first."""
    number, octets = int(ipaddress.IPv4Address(address)), [int(octet) for octet in address.split(".")]
    return [
        address, f"{address}.", str(number), hex(number), f"0{number:o}", f"0X{number:X}",
        ".".join(f"0{octet:o}" for octet in octets), ".".join(hex(octet) for octet in octets),
        ".".join(f"{octet:04o}" for octet in octets), f"{octets[0]}.{number & 0xFFFFFF}", f"{octets[0]}.{octets[1]}.{number & 0xFFFF}",
        f"{hex(octets[0])}.{octets[1]}.0{octets[2]:o}.{octets[3]}", f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]", f"[0:0:0:0:0:ffff:{address}]", f"[64:ff9b::{address}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::]", f"[::{address}]",
    ]  # fmt: skip


def disguised(address: str) -> list[str]:
    """Hosts that only look like names, or hide the address behind a name that is allowed."""
    percent = "".join(f"%{ord(letter):02x}" for letter in address)
    return [
        address.translate(FULL_WIDTH), address.translate(CIRCLED), address.replace(".", "。"), address.replace(".", "｡"),
        percent, f"{address}%00.{ALLOWED}", f"{ALLOWED}@{address}", f"{ALLOWED}:80@{address}", f"{address}#@{ALLOWED}",
        f"{address}?@{ALLOWED}", f"{address}\\@{ALLOWED}", f"{address}\t", f" {address}",
        f"{address}&@{ALLOWED}", f"{address}:80:80", f"{address}:99999", f"{ALLOWED}.{address}.nip.io", f"[{address}]",
    ]  # fmt: skip


def lenient() -> dict[str, str]:
    """URLs that look hostile, and what browsers ask the allowed host for: the host that is checked is the one that is asked."""
    return {
        f"http:/{ALLOWED}/a": "/a", f"http:{ALLOWED}": "/", f"http:\\\\{ALLOWED}\\b": "/b", f"http://{ALLOWED}/\r\nX: y": "/X:%20y",
        f"http://{ALLOWED}/ HTTP/1.1": "/%20HTTP/1.1", f"http://{ALLOWED}\\@10.0.0.1/c": "/@10.0.0.1/c", f"http://{ALLOWED}/\0x": "/%00x",
    }  # fmt: skip


def addresses() -> Iterator[str]:
    """URLs none of which may be fetched."""
    for address in INSIDE:
        for host in (*spellings(address), *disguised(address)):
            yield f"http://{host}/a.png"
    for scheme in ("file", "ftp", "gopher", "dict", "ldap", "tftp", "jar:http", "netdoc", "ws", "HTTP+unix", "php", "smb", "view-source"):  # fmt: skip
        yield f"{scheme}://{ALLOWED}/a.png"
        yield f"{scheme}:///etc/passwd"
    yield from (
        "http://localhost/", "http://LOCALHOST./", "https://[::1]/", "http://[::]:80/", "https://[fe80::1%25eth0]/", "http://0/",
        "http://metadata.google.internal/", f"http://{ALLOWED}.evil.example/", f"http://evil-{ALLOWED}.example/",
        "http://example.org/", f"http://{ALLOWED}:22/", f"http://{ALLOWED}:6379/", f"https://user:pw@{ALLOWED}/", f"//{ALLOWED}/",
        "http://", "http://?", "http://#", "http:///etc/passwd", "http://./", "http://..", f"http://{'a' * 3000}.example.org/",
        "/etc/passwd", "../../etc/passwd", "C:\\windows\\win.ini", "\\\\server\\share", "~/.ssh/id_rsa", "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zy8+", "data:text/html;base64,PGI+", "data:image/png,plain", "DATA:image/png;base64,AAAA",
        "data:image/png;base64", "data:;base64,", "data:", "data:image/png;base64;base64,AAAA", "data:image/../../x;base64,AAAA",
        "data:image/png;charset=utf-8;base64,AAAA", "data:file:///etc/passwd", "blob:http://x/y", "about:blank", "x" * 10_000,
    )  # fmt: skip


def base64s() -> list[Any]:
    """What stands where base64 should."""
    return [
        "A", "AA", "AAA", "AAAAA", "====", "AA=A", "=AAA", "AAAA=", "AAAA====", "AA AA", "AA\nAA", "AA\r\nAA", " AAAA", "AAAA ",
        "AA-_", "AA%3D", "ＡＡＡＡ", "АААА", "AA\0A", "AAA\u200b", "\ud800AAA", "A" * 12_000_000, "!" * 11_000_000, "=" * 10_000,
        "..//", "data:image/png;base64,AAAA", "/etc/passwd", None, 5, 1.5, True, [], {}, ["AAAA"], {"data": "AAAA"},
    ]  # fmt: skip


def nested(depth: int, close: bool = True) -> Iterator[bytes]:
    for before, inner, after in ((b"[", b"", b"]"), (b'{"a":', b"1", b"}"), (b'[{"content":', b"1", b"}]")):
        yield before * depth + (inner + after * depth if close else b"")


def bodies() -> Iterator[bytes]:
    """Whole bodies none of which may be accepted."""
    user = {"role": "user", "content": "x"}
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    for depth in (50, 900, 5_000, 100_000):
        yield from nested(depth)
        yield from nested(depth, close=False)
        for whole in nested(min(depth, 50_000)):
            yield b'{"messages": ' + whole + b"}"
            yield b'{"messages": [{"role": "user", "content": ' + whole + b"}]}"
            yield b'{"messages": [{"role": "user", "content": "x"}], "modalities": ' + whole + b"}"
    things: tuple[Any, ...] = (-1, 1e308, "x", [], {}, deep, 10**30, True, "\ud800")
    numbers = (
        "seed",
        "steps",
        "guidance",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "preview_every",
        "n",
    )
    for name in numbers:
        yield from (_body(messages=[user], **{name: thing}) for thing in things)
        for raw in (
            "NaN",
            "Infinity",
            "-Infinity",
            "1e999",
            "-0.5",
            "1e-400x",
            "0x10",
            "01",
            "+1",
            "9" * 5_000,
            "1.5.5",
        ):
            yield f'{{"messages": [{{"role": "user", "content": "x"}}], "{name}": {raw}}}'.encode()
    for name in ("modalities", "stream", "stream_options", "views", "user", "model", "session"):
        others = (
            (5, 1.5, [], [5], {}, {"a": deep}, deep)
            if name != "stream_options"
            else (5, 1.5, [5], {"include_usage": 5}, deep)
        )
        yield from (_body(messages=[user], **{name: thing}) for thing in others)
    for session in (
        "",
        "x" * 65,
        "a\0b",
        "a\nb",
        "\u202eabc",
        "\ud800",
        "a\x1b[2J",
        "\x7f",
        "../../" * 20,
        "\u2028",
        "\ufeffa",
    ):
        yield _body(messages=[user], session=session)
    yield from (_body(messages=thing) for thing in (None, 5, "x", {}, [], [None], [5], [[]], deep, [user] * 5_000))
    yield from (
        _body(messages=[{"role": role, "content": "x"}])
        for role in (None, 5, {}, [], "robot", "tool", "user\0", "User")
    )
    yield from (
        _body(messages=[{"role": "user", "content": thing}]) for thing in (None, 5, {}, [], [[]], deep, "x" * 100_000)
    )
    yield from (
        _body(messages=[user], **{name: 1})
        for name in ("__class__", "\ud800", "x" * 5_000, "messages\0", "tools", "path")
    )
    yield from (
        b"", b"{", b"null", b"5", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{", b"NaN", b"1e999999", b"0" * 10_000, b'"\\ud800"', b"{'a': 1}",
        b'{"messages": [1,]}', b'{"messages": [] /* x */}', b'{"messages": []}{"messages": []}', b"--x\r\n\r\n", b"messages=x",
        b'{"messages": [{"role": "user", "content": "\x00"}]}', b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b"\x1f\x8b\x08\0\0\0\0\0", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
        b"!!python/object/apply:os.system ['true']", b"\x80\x04\x95", '{"messages": "é"}'.encode("utf-16"), b" " * 1_000_000,
    )  # fmt: skip


def _body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


HEADERS = [
    ("Content-Type", "text/plain"), ("Content-Type", "multipart/form-data; boundary=x"), ("Content-Type", ""),
    ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Type", "application/json; charset=utf-16"),
    ("Content-Type", "a" * 4_000), ("Content-Encoding", "gzip"), ("Content-Encoding", "br, gzip"), ("Content-Encoding", "identity"),
    ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "gopher"), ("Forwarded", "for=x"),
    ("X-Original-URL", "/metrics"), ("X-HTTP-Method-Override", "DELETE"), ("Origin", "https://evil.example"), ("Origin", "null"),
    ("Origin", "file://"), ("Origin", "http://127.0.0.1@evil.example"), ("Authorization", "Bearer " + "x" * 5_000),
    ("Authorization", "Basic AAAA"), ("Authorization", "\x80"), ("Cookie", "a=" + "b" * 4_000), ("Range", "bytes=0-1"),
    ("Expect", "100-continue"), ("Expect", "x"), ("Accept", "a" * 3_000), ("Accept-Encoding", "x;q=99"), ("TE", "trailers"),
    ("Upgrade", "websocket"), ("Upgrade", "h2c"), ("serve_multiplexed_model_id", "../../x"), ("X-Request-Id", "x" * 4_000),
    ("Host", "evil.example, 127.0.0.1"), ("Host", ""), ("Host", "127.0.0.1:port"), ("Host", "[::1"), ("Host", "a" * 300),
]  # fmt: skip

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def raw() -> Iterator[bytes]:
    """What is no proper HTTP, or lies about its own length."""
    for length in ("-1", "99999999999999999999", "+5", "5, 6", "0x5", " ", "5\r\nContent-Length: 6", "1e3", "５"):
        yield POST + f"Content-Length: {length}\r\n\r\n{{}}".encode() + SECOND
    for coding in ("chunked", "xchunked", "identity, chunked", "chunked, identity", "\x0bchunked", "gzip, chunked", "chunked\r\nTransfer-Encoding: x"):  # fmt: skip
        yield POST + b"Content-Length: 5\r\nTransfer-Encoding: " + coding.encode() + b"\r\n\r\n0\r\n\r\n" + SECOND
    for chunk in (b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"7fffffffffffffff\r\nx", b"5;" + b"a" * 20_000 + b"\r\n", b"g\r\n", b"2\r\n{}x\r\n",
                  b"0\r\nHost: evil\r\n\r\n", b"\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n"):  # fmt: skip
        yield POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    yield from (
        b"", b"\0" * 100, b"\n" * 1_000, b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", b"DELETE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", b"X" * 5_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", GET + b"A b: c\r\n\r\n", GET + b": x\r\n\r\n",
        GET + b"A: b\r\n c: folded\r\n\r\n", GET + b"A: \0\r\n\r\n", GET + b"no colon\r\n\r\n", GET + b"A: b\r\n" * 2_000 + b"\r\n",
        GET + b"A: " + b"b" * 200_000 + b"\r\n\r\n", GET.replace(b"/health", b"/" + b"a" * 100_000) + b"\r\n", GET + b"\r\n" + SECOND * 50,
        b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
    )  # fmt: skip


def paths() -> Iterator[str]:
    """Ways out of the folder of the page, none of which may lead to a file."""
    ups = (
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..\\",
        "..%5c",
        "%252e%252e%252f",
        "....//",
        "..%c0%af",
        "..%00/",
        ".%2e/",
        "..;/",
    )
    for up in ups:
        for target in ("api.py", "settings.py", "etc/passwd"):
            yield f"/page/{up * (1 if target != 'etc/passwd' else 12)}{target}"
    yield from (f"/page/examples/{up}{up}api.py" for up in ups)
    yield from (f"/v1/models/{up}{up}{up}etc/passwd" for up in ups)
    yield from (
        "/page/", "/page", "/page//etc/passwd", "/page/index.html%00.js", "/page/.", "/page/..", "/page/examples", "/page/examples/",
        "/page/__init__.py", "/page/file:///etc/passwd", "/page/C:%5cwindows%5cwin.ini", "/page/index.html/", "/page/%ff%fe",
        "/page/" + "a" * 3_000 + ".js", "/page/app.js%20", "/page/APP.JS", "/page/%2fetc%2fpasswd", "/v1/models/%ff%fe", "/v1/models/%00",
        "/v1/models/" + "a" * 3_000, "//etc/passwd", "/.git/config", "/.env", "/-/healthz", "/docs", "/redoc", "/static/x", "/%2e%2e/x",
    )  # fmt: skip
