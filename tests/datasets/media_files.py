"""Media files as they are found outside: turned, deep, tagged, damaged; made small, for tests of every place that decodes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image, PngImagePlugin, TiffImagePlugin

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 40), (40, 60, 200)
TURNED = {1: None, **{n: t for n, t in zip(range(2, 9), (
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
), strict=True)}}  # fmt: skip


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Left red, right blue, green in the upper left corner: no turn leaves it as it is."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    image.paste(GREEN, (0, 0, width // 4, height // 2))
    return image


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image as a viewer shows it that is stored with this EXIF orientation."""
    turn = TURNED[orientation]
    return image if turn is None else image.transpose(turn)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image: Any) -> np.ndarray:
    return np.asarray(image).astype(int)


def unlike(one: Any, other: Any) -> float:
    """The mean difference of two images of one size, of 255; infinite for two sizes."""
    a, b = pixels(one), pixels(other)
    return float(np.abs(a - b).mean()) if a.shape == b.shape else float("inf")


# --- metadata --------------------------------------------------------------------------------------------------------


def exif(orientation: int, kind: int = 3, order: str = "<", more: bytes = b"") -> bytes:
    """An EXIF block of two fields: the orientation, and a resolution that points to `more`."""
    head = b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    value = struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", orientation)
    fields = struct.pack(f"{order}HHHI", 2, 0x0112, kind, 1) + value + struct.pack(f"{order}HHII", 0x011A, 10, 1, 38)
    return head + fields + struct.pack(f"{order}I", 0) + (more or struct.pack(f"{order}ii", -1, 0))


def sound_exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "a camera"
    return block.tobytes()


def xmp(orientation: int, junk: bytes = b"\xa8\xff") -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="%d" t="%s"/></x:xmpmeta>' % (orientation, junk)


def with_segment(jpeg: bytes, payload: bytes, marker: int = 0xE1) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return jpeg[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def stored(image: Image.Image, orientation: int, kind: str) -> bytes:
    """A file in which the orientation is written as this kind of file has it: 'PNG XMP' is PNG, its orientation in XMP."""
    form, _, where = kind.partition(" ")
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(
        form, {}
    )
    if where == "XMP" and form == "JPEG":
        return with_segment(encoded(image, form, **options), b"http://ns.adobe.com/xap/1.0/\0" + xmp(orientation))
    if form == "PNG" and where:
        info, block = PngImagePlugin.PngInfo(), exif(orientation)[6:]
        if where == "XMP":
            info.add_itxt("XML:com.adobe.xmp", xmp(orientation, b"?").decode())
        elif where == "profile":  # as ImageMagick writes it
            info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
        png = encoded(image, form, pnginfo=info)
        return png[:-12] + chunk(b"eXIf", block) + png[-12:] if where == "behind" else png
    if form == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700 if where == "XMP" else 0x0112] = xmp(orientation) if where == "XMP" else orientation
        return encoded(image, form, tiffinfo=tags, compression="tiff_lzw" if where == "LZW" else None)
    if where == "XMP":
        return encoded(image, form, xmp=xmp(orientation), **options)
    if form == "AVIF":  # its writer turns the orientation into a property of the image
        return encoded(image, form, exif=sound_exif(orientation), **options)
    return encoded(image, form, exif=exif(orientation, order=">" if where == "MM" else "<"), **options)


def chunk(name: bytes, content: bytes, right: bool = True) -> bytes:
    """A piece of a PNG; with a wrong checksum if it shall not be right."""
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ (not right))
    )


def png(values: np.ndarray, bits: int, kind: int, *more: bytes) -> bytes:
    """A PNG of any depth, rows of (H, W) or (H, W, channels); `kind` is the colour type of its header."""
    height, width = values.shape[:2]
    if bits < 8:
        flat = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
        rows = [np.packbits(row).tobytes() for row in flat]
    else:
        rows = [row.astype(">u2" if bits == 16 else "u1").tobytes() for row in values]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + chunk(b"IEND", b"")


# --- colour profiles -------------------------------------------------------------------------------------------------

SRGB_COLUMNS = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
ADOBE_COLUMNS = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 with these tags, and the two that all must have."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78),
        b"wtpt": xyz((0.9642, 1, 0.8249)),
        **tags,
    }
    place, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", place + len(data), len(content))
        data += content
    head = struct.pack(
        ">I4sI4s4s4s12s4s", place + len(data), bytes(4), 0x02100000, b"mntr", space, connection, bytes(12), b"acsp"
    )
    white = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return (head + bytes(28) + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65_536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(columns: Sequence[Sequence[float]], exponent: float = 2.2) -> bytes:
    names = zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    return profile(
        b"RGB ", {**{n: xyz(c) for n, c in names}, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))}
    )


def gray_profile(exponent: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma(exponent)})


def cmyk_profile() -> bytes:
    """A press on which cyan prints as gray: colours through it are unlike any that are computed without it."""
    ramp = bytes(range(256))
    lab = b"".join(
        bytes([round(255 * (1 - 0.5 * c) * (1 - k)), 128, 128 + round(60 * y)])
        for c in (0, 1) for _ in (0, 1) for y in (0, 1) for k in (0, 1)
    )  # fmt: skip
    matrix = b"".join(struct.pack(">i", 65_536 * one) for one in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + lab + ramp * 3
    return profile(b"CMYK", {b"A2B0": lut}, b"Lab ")


# --- video and audio -------------------------------------------------------------------------------------------------


def video(
    frames: Sequence[Any], times: Sequence[float] | None = None, form: str = "mp4", codec: str = "mpeg4",
    turn: Sequence[Any] = (), aspect: Fraction | None = None, pixel_format: str = "yuv420p", cover: str = "",
    sound: float = 0.0, rate: int = 1000, **options: str,
) -> bytes:  # fmt: skip
    """A clip of RGB images, each from its time in seconds on; 8 a second where none are given.

    `rate` counts the ticks of its clock, of which some codings know a few only. `cover` is 'first' or 'last': where a green still stands beside the track; `sound` is the pitch of a tone.
    """
    times = [k / 8 for k in range(len(frames))] if times is None else times
    buffer, first = io.BytesIO(), np.asarray(frames[0])
    with av.open(buffer, "w", format=form) as container:
        still = add_cover(container) if cover == "first" else None
        track = container.add_stream(codec, rate=rate, options=options)
        track.height, track.width = first.shape[:2]
        track.pix_fmt, track.codec_context.time_base = pixel_format, Fraction(1, rate)
        if aspect:
            track.codec_context.sample_aspect_ratio = aspect
        if turn:
            track.set_display_rotation(*turn)
        tone = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        still = add_cover(container) if cover == "last" else still
        if still:
            fill_cover(container, still)
        for image, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(rate * time), Fraction(1, rate)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
        if tone:
            add_tone(container, tone, sound, 2.0)
    return buffer.getvalue()


def add_cover(container: Any) -> Any:
    """A track of its own for a still that is marked as a cover; all tracks are added before one is filled."""
    track = container.add_stream("mjpeg", rate=1)
    track.width, track.height, track.pix_fmt = 64, 64, "yuvj420p"
    track.disposition = av.stream.Disposition.attached_pic
    return track


def fill_cover(container: Any, track: Any) -> None:
    frame = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (0, 200, 0)))
    container.mux([*track.encode(frame), *track.encode(None)])


def add_tone(container: Any, track: Any, pitch: float, seconds: float) -> None:
    wave = (0.4 * np.sin(2 * np.pi * pitch * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.float32)
    for start in range(0, len(wave) // 1024 * 1024, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="flt", layout="mono")
        frame.rate, frame.pts = 16_000, start
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def audio(samples: np.ndarray, rate: int = 16_000, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def contained(
    samples: np.ndarray, layout: str, form: str, codec: str, rate: int = 48_000, cover: bool = False
) -> bytes:
    """(n, channels) in a container, coded by FFmpeg; with a cover beside it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        if cover:
            fill_cover(container, add_cover(container))
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.astype(np.float32).reshape(1, -1)), format="flt", layout=layout
        )
        frame.rate, frame.pts = rate, 0
        resampler = av.AudioResampler(track.format, layout, rate, frame_size=track.codec_context.frame_size or 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return buffer.getvalue()
