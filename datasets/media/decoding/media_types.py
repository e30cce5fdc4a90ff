"""Detects the media type of a file from its first bytes, never from its name."""

from __future__ import annotations

import re

SIGNS = (
    (b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"), (b"MM\x00*", "image/tiff"), (b"II+\x00", "image/tiff"), (b"MM\x00+", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  ", "image/jp2"), (b"\xffO\xffQ", "image/jp2"), (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"\x00\x00\x00\x0cJXL ", "image/jxl"), (b"\xff\x0a", "image/jxl"), (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"fLaC", "audio/flac"), (b".snd", "audio/basic"), (b"caff", "audio/x-caf"), (b"wvpk", "audio/x-wavpack"),
    (b"#!AMR", "audio/amr"), (b"riff\x2e\x91\xcf\x11", "audio/x-w64"), (b"MAC ", "audio/x-ape"),
    (b"FLV\x01", "video/x-flv"), (b"\x00\x00\x01\xba", "video/mpeg"), (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
)  # fmt: skip
EXTENSIONS = {
    "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp",
    "image/tiff": "tif", "image/avif": "avif", "image/heic": "heic", "image/jp2": "jp2", "image/svg+xml": "svg",
    "audio/flac": "flac", "audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/mp4": "m4a",
    "audio/aac": "aac", "audio/aiff": "aiff", "audio/basic": "au", "audio/x-caf": "caf", "audio/x-wavpack": "wv",
    "audio/amr": "amr", "audio/x-w64": "w64", "audio/x-ape": "ape", "audio/webm": "weba", "audio/x-matroska": "mka",
    "audio/x-ms-wma": "wma", "video/mp4": "mp4", "video/webm": "webm", "video/x-matroska": "mkv", "video/ogg": "ogv",
    "video/quicktime": "mov", "video/3gpp": "3gp", "video/x-msvideo": "avi", "video/mpeg": "mpg", "video/mp2t": "ts",
    "video/x-flv": "flv", "video/x-ms-asf": "wmv",
}  # fmt: skip
RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
BRANDS = {  # of the ISO base media format: the first four letters of a file's own brand, without blanks
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"heim": "image/heic",
    b"heis": "image/heic", b"hevc": "image/heic", b"hevx": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic",
    b"M4A": "audio/mp4", b"M4B": "audio/mp4", b"M4P": "audio/mp4", b"F4A": "audio/mp4", b"qt": "video/quicktime",
    b"crx": "image/x-canon-cr3",
}  # fmt: skip
ATOMS = (b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")  # first atoms of QuickTime files without a brand
TRANSPORT = (
    (0, 188),
    (4, 192),
)  # where the packets of MPEG-TS start, and their length: broadcast, and Blu-ray or camera
SVG = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+(?:[\w-]+:)?svg\b[^\[>]*(?:\[.*?\]\s*)?>)*+<(?:[\w-]+:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
LOOK = 65_536  # bytes within which an SVG must start: declarations and comments may come before


def media_type_of(data: bytes) -> str:
    """The media type of a file; '' if unknown. A container is `video` whatever tracks it has."""
    for sign, media_type in SIGNS:
        if data.startswith(sign):
            return media_type
    if data[:4] in (b"RIFF", b"RF64", b"BW64"):
        return RIFF.get(data[8:12], "")
    if data[:4] == b"FORM":
        return "audio/aiff" if data[8:12] in (b"AIFF", b"AIFC") else ""
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in data[:4096] else "audio/ogg"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "video/x-matroska" if b"matroska" in data[:128] else "video/webm"
    if re.match(rb"P[1-6fF]\s", data):
        return "image/x-portable-anymap"
    if data[:3] == b"ID3":
        return _after_tag(data)
    if mpeg := _mpeg_audio(data):
        return mpeg
    if any(data[start : start + 2 * step + 1 : step] == b"GGG" for start, step in TRANSPORT):
        return "video/mp2t"
    if data[4:8] in ATOMS:
        return "video/quicktime"
    return "image/svg+xml" if SVG.match(data[:LOOK]) else ""


def _by_brand(data: bytes) -> str:
    major = data[8:12].strip(b" \0")
    if major in (b"mif1", b"msf1"):  # any still image; the compatible brands are specific
        size = int.from_bytes(data[:4], "big")
        return "image/avif" if b"avif" in data[16 : min(size, 256)] else "image/heic"
    if major[:3] in (b"3gp", b"3g2"):
        return "video/3gpp"
    return BRANDS.get(major, "video/mp4")


def _after_tag(data: bytes) -> str:
    """Usually MP3, but an ID3 tag may also precede AAC and FLAC. Its length has seven bits per byte."""
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 127
    behind = data[10 + size : 10 + size + 4]
    return "audio/flac" if behind == b"fLaC" else _mpeg_audio(behind) or "audio/mpeg"


def _mpeg_audio(data: bytes) -> str:
    """Detect MPEG audio by a frame header: eleven bits set, then version, layer and rates, of which some values are
    invalid.
    """
    if len(data) < 3 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return ""
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    if layer == 0:
        return "audio/aac" if data[1] & 0xF0 == 0xF0 and data[2] >> 2 & 15 < 13 else ""
    if version == 1 or layer == 3 or data[2] >> 4 in (0, 15) or data[2] >> 2 & 3 == 3:  # layer I: a byte order mark
        return ""
    return "audio/mpeg"
