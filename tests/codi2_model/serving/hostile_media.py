"""Files that no server may decode as they ask: bombs, lying headers, rubbish. And ones that are only damaged."""

from __future__ import annotations

import io
import random
import struct
import wave
import zlib
from collections.abc import Iterator

import numpy as np
import soundfile
from PIL import Image

from codi2_datasets.media.video import encode_video

SIDES = ((5_000, 5_000), (60_000, 60_000), (1, 2**24 + 1), (2**31 - 1, 2**31 - 1))
HEADS = (
    b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff", b"BM", b"fLaC", b"OggS", b"\0\0\0\x18ftypmp42",
    b"RIFF\0\0\0\0WAVEfmt ", b"ID3\x04\0\0", b"\xff\xfb\x90\x64", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"OggS\0\2OpusHead",
    b"%PDF-1.7", b"PK\3\4", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"II*\0", b"8BPS", b"\0\0\1\0", b"#!/bin/sh\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P6\n60000 60000\n255\n", b"\x1f\x8b\x08", b"BZh9",
)  # fmt: skip


def rubbish() -> list[bytes]:
    """Heads of known formats, nothing sensible behind them."""
    chance = random.Random(0)
    return [head + chance.randbytes(length) for head in HEADS for length in (0, 200)] + [chance.randbytes(300)]


def png(width: int, height: int, data: bytes = b"", bits: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    head = _piece(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + _piece(b"IDAT", zlib.compress(data, 9)) + _piece(b"IEND", b"")


def _piece(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def pictures() -> Iterator[bytes]:
    """More pixels, frames or text than is allowed; whole or in the header alone."""
    for width, height in SIDES:
        yield png(width, height, b"\0" * 10_000)
    yield png(20_000, 20_000, b"\0" * (20_000 * 2_501), bits=1, colour=0)  # whole: 50 MB out of some kB
    text = _piece(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 50_000_000, 9))
    yield png(8, 8, b"\0" * 200, more=text * 3)
    yield png(0, 0) + png(8, 8)
    for side in (5_000, 65_535):
        yield (
            b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", side, side) + b"\3\1\x22\0\2\x11\1\3\x11\1" + b"\0" * 99
        )
        yield b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0" * 6 + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x08\0;"  # fmt: skip
        yield b"BM" + struct.pack("<IIIIiiHHIIIIII", 200, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 99
    packed = struct.pack("<I", 16_383 | 16_383 << 14)
    yield b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8L" + struct.pack("<I", 20) + b"\x2f" + packed + b"\0" * 15
    canvas = struct.pack("<I", 0) + (2**24 - 1).to_bytes(3, "little") + (255).to_bytes(3, "little")
    yield b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas + b"\0" * 22
    big = io.BytesIO()
    Image.new("L", (4_200, 4_200)).save(big, "WEBP", lossless=True)
    yield big.getvalue()
    big = io.BytesIO()
    Image.new("L", (9_000, 9_000)).save(big, "JPEG", quality=1)
    yield big.getvalue()


def sounds() -> Iterator[tuple[bytes, str]]:
    """Longer, wider or faster than is allowed, with the format they are said to have."""
    yield silence(61), "flac"
    yield silence(61, channels=8), "flac"
    yield silence(1_800, rate=8_000), "flac"
    yield silence(90, form="OGG", rate=8_000), "ogg"
    yield silence(90, form="MP3"), "mp3"
    for place, value in ((24, 0), (24, 1), (24, 2**32 - 1), (24, 500_000)):  # samples a second
        yield wav(place, struct.pack("<I", value)), "wav"
    for channels in (0, 65_535):
        yield wav(22, struct.pack("<H", channels)), "wav"
    yield wav(34, struct.pack("<H", 0)), "wav"  # bits a sample
    yield wav(20, struct.pack("<H", 0x1234)), "wav"  # an unknown code
    stated = bytearray(silence(1))
    stated[21:26] = bytes([stated[21] | 0x0F, 255, 255, 255, 255])  # 2^36 - 1 samples
    yield bytes(stated), "flac"


def silence(seconds: int, channels: int = 1, rate: int = 16_000, form: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((seconds * rate, channels), np.int16), rate, format=form)
    return buffer.getvalue()


def wav(place: int, content: bytes) -> bytes:
    """A short sound whose header lies at a place."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * 100)
    data = bytearray(buffer.getvalue())
    data[place : place + len(content)] = content
    return bytes(data)


def clips() -> Iterator[bytes]:
    """More frames, seconds or boxes than is allowed; boxes within boxes; what is no clip at all."""
    frames = [Image.new("L", (8, 8), n % 256) for n in range(2_500)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=1000)
    yield buffer.getvalue()
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:40], duration=1000)
    yield buffer.getvalue()
    yield encode_video(np.zeros((8 * 31, 16, 16, 3), np.uint8))
    yield from (png(width, height) for width, height in SIDES)
    head = struct.pack(">I", 24) + b"ftypmp42\0\0\0\0mp42isom"
    for size in (0, 1, 7, 2**32 - 1):
        yield head + struct.pack(">I", size) + b"moov" + b"\0" * 40
    nested = b""
    for _ in range(2_000):
        nested = struct.pack(">I", len(nested) + 8) + b"moov" + nested
    yield head + nested
    yield head + b"\0\0\0\x10mdat" + b"\0" * 8
    yield b"\x1aE\xdf\xa3\x01" + b"\xff" * 60


def damaged() -> Iterator[tuple[str, bytes, str]]:
    """Good files with some bytes changed or cut off: they may be readable still. (modality, file, format)"""
    chance = random.Random(1)
    picture, sound = Image.effect_noise((24, 24), 60).convert("RGB"), np.sin(np.arange(4_000) / 9)
    good: list[tuple[str, bytes, str]] = [("video", encode_video(np.full((6, 16, 16, 3), 90, np.uint8)), "mp4")]
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        buffer = io.BytesIO()
        picture.save(buffer, form)
        good.append(("image", buffer.getvalue(), form.lower()))
    for form in ("WAV", "FLAC", "OGG", "MP3"):
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, 16_000, format=form)
        good.append(("audio", buffer.getvalue(), form.lower()))
    for modality, data, form in good:
        for number in range(12):
            changed = bytearray(data)
            for _ in range(1 + number):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            yield modality, bytes(changed[: chance.randrange(len(changed)) if number % 3 == 0 else None]), form
