"""Video of others is shown as a player shows it: upright, in its true shape and colours, each frame at its time.

The oracle is FFmpeg: its filters, as its own player and converter set them up, and the command itself where it is at hand.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.containers import tracks_of
from codi2_datasets.media.decoding.frames import frame_at, frames_of
from codi2_datasets.media.video import decode_video, normalise_video
from tests.datasets import media_files as files

few = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
SCENE = files.scene(96, 64)
CODED = 12.0  # of 255, on the mean: what coding changes at the edges of the scene
SCALED = 6.0  # the same between FFmpeg's scaler and ours
TURNS = [(degrees, *flips) for degrees in (0, 90, 180, 270) for flips in ((0, 0), (1, 0), (0, 1))]


def first(payload: bytes) -> Image.Image:
    return next(iter(frames_of(payload))).image()


def gray(value: int) -> np.ndarray:
    return np.full((32, 32, 3), value, np.uint8)


def level(image: Any) -> float:
    return float(files.pixels(image).mean())


def by_filters(payload: bytes, aspect: Fraction = Fraction(1)) -> Image.Image:
    """The first frame by FFmpeg's filters, chosen as `ffmpeg -autorotate` does, of pixels of this aspect."""
    with av.open(io.BytesIO(payload)) as container:
        track = container.streams.video[0]
        frame = next(container.decode(track))
        chain = [("scale", f"iw*{float(max(aspect, 1))}:ih/{float(min(aspect, 1))}")]
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix:
            m, theta = np.frombuffer(matrix, np.int32), -frame.rotation % 360
            if theta == 90:
                chain.append(("transpose", "cclock_flip" if m[3] > 0 else "clock"))
            elif theta == 270:
                chain.append(("transpose", "clock_flip" if m[3] < 0 else "cclock"))
            elif theta == 180:
                chain += [("hflip", "")] * int(m[0] < 0) + [("vflip", "")] * int(m[4] < 0)
            elif m[4] < 0:
                chain.append(("vflip", ""))
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=track)]
        nodes += [graph.add(name, options) for name, options in chain]
        nodes.append(graph.add("buffersink"))
        for one, two in pairwise(nodes):
            one.link_to(two)
        graph.configure()
        graph.push(frame)
        return graph.pull().to_image()


def by_command(payload: bytes, folder: Path) -> Image.Image | None:
    """The first frame by the command itself; None where there is none."""
    if (command := shutil.which("ffmpeg")) is None:
        return None
    (folder / "in").write_bytes(payload)
    scale = "scale='iw*max(sar,1)':'ih/min(sar,1)',setsar=1"
    subprocess.run(
        [
            command,
            "-y",
            "-v",
            "error",
            "-i",
            str(folder / "in"),
            "-vf",
            scale,
            "-frames:v",
            "1",
            str(folder / "out.png"),
        ],
        check=True,
        timeout=60,
    )
    with Image.open(folder / "out.png") as image:
        return image.convert("RGB")


# --- shape -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mp4", "matroska", "mov"])
def test_every_display_matrix_is_applied(form: str) -> None:
    for turn in TURNS:
        payload = files.video([SCENE], form=form, turn=turn)
        assert files.unlike(first(payload), by_filters(payload)) < 1, turn
    phone = first(files.video([SCENE], form=form, turn=(-90,)))  # as phones write it
    assert files.unlike(phone, SCENE.transpose(Image.Transpose.ROTATE_270)) < CODED


@pytest.mark.parametrize(
    ("form", "codec"), [("mp4", "mpeg4"), ("mov", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")]
)
def test_pixels_that_are_not_square_are_made_so(form: str, codec: str) -> None:
    for aspect in (Fraction(2), Fraction(1, 2), Fraction(16, 11)):
        payload = files.video([SCENE], form=form, codec=codec, aspect=aspect, times=[0.0])
        shown, expected = first(payload), by_filters(payload, aspect)
        assert abs(shown.width / shown.height - 1.5 * aspect) < 0.1
        assert files.unlike(shown, expected.resize(shown.size)) < SCALED, aspect


def test_a_turned_clip_of_oblong_pixels_is_widened_before_it_is_turned() -> None:
    payload = files.video([SCENE], turn=(-90,), aspect=Fraction(2))
    assert first(payload).size == (64, 192) and files.unlike(first(payload), by_filters(payload, Fraction(2))) < SCALED


def test_frames_are_those_of_the_command(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg on this machine")
    for more in (
        {"turn": (90, 1, 0)},
        {"turn": (-90,), "aspect": Fraction(3, 2)},
        {"form": "matroska", "codec": "ffv1"},
    ):
        payload = files.video([SCENE], **more)  # type: ignore[arg-type]
        expected = by_command(payload, tmp_path)
        shown = first(payload)
        assert expected is not None and files.unlike(shown, expected.resize(shown.size)) < SCALED, more


# --- colours ---------------------------------------------------------------------------------------------------------


def coloured(space: int, value_range: int, width: int, height: int) -> bytes:
    """A plain colour, coded and tagged as this space and range; space 2 is coded as BT.709 and says nothing."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=8, options={"crf": "1", "preset": "ultrafast"})
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.codec_context.colorspace, track.codec_context.color_range = space, value_range
        frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), files.RED))
        named = {1: "ITU709", 2: "ITU709", 9: "BT2020"}.get(space, "ITU601")
        frame = frame.reformat(format="yuv420p", dst_colorspace=named, dst_color_range=value_range or 1)
        frame.colorspace, frame.color_range = space, value_range
        container.mux([*track.encode(frame), *track.encode(None)])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("space", "width", "height"), [(1, 64, 64), (5, 64, 64), (6, 64, 64), (9, 64, 64), (2, 1280, 64)]
)
def test_colours_are_converted_by_what_the_file_says_of_them(space: int, width: int, height: int) -> None:
    for value_range in (1, 2):
        shown = files.pixels(first(coloured(space, value_range, width, height)))[32, 32]
        assert np.abs(shown - files.RED).max() <= 3, (space, value_range, shown)


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv422p10le", "yuv420p10le", "gbrp10le", "bgr0", "gray10le"])
def test_every_format_of_pixels_is_read(pixel_format: str) -> None:
    shown = first(files.video([SCENE], form="matroska", codec="ffv1", pixel_format=pixel_format))
    expected = SCENE.convert("L").convert("RGB") if pixel_format.startswith("gray") else SCENE
    assert files.unlike(shown, expected) < CODED


@pytest.mark.parametrize(("form", "codec", "pixel_format"), [
    ("webm", "libvpx-vp9", "yuva420p"), ("webm", "libvpx", "yuva420p"), ("mov", "qtrle", "argb"), ("matroska", "ffv1", "bgra"),
])  # fmt: skip
def test_what_is_transparent_is_white(form: str, codec: str, pixel_format: str) -> None:
    layer = SCENE.convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 48, 64))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        track = container.add_stream(codec, rate=8, options={"auto-alt-ref": "0"} if "vpx" in codec else {})
        track.width, track.height, track.pix_fmt = 96, 64, pixel_format
        for _ in range(2):
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.asarray(layer), format="rgba")))
        container.mux(track.encode(None))
    shown = files.pixels(first(buffer.getvalue()))
    assert shown[4:60, 4:40].min() > 240 and files.unlike(shown[:, 56:], files.pixels(SCENE)[:, 56:]) < CODED


# --- time ------------------------------------------------------------------------------------------------------------


@few
@given(
    st.lists(st.integers(20, 4_000), min_size=2, max_size=9),
    st.sampled_from([("mp4", "mpeg4"), ("matroska", "mpeg4"), ("mov", "libx264"), ("flv", "flv1")]),
    st.integers(0, 3_000),
    st.floats(0, 1),
)
def test_a_frame_is_chosen_by_its_time(lasts: list[int], kind: tuple[str, str], start: int, share: float) -> None:
    begins = np.concatenate([[0], np.cumsum(lasts)]) / 1000
    frames = [gray(20 + 20 * number) for number in range(len(begins))]
    payload = files.video(frames, (begins + start / 1000).tolist(), *kind)
    shown = [(frame.end, level(frame.image())) for frame in frames_of(payload)]
    assert np.allclose([end for end, _ in shown[:-1]], begins[1:], atol=0.0015)
    at = share * shown[-1][0]
    number = int(np.searchsorted(begins, at, side="right")) - 1
    if all(abs(at - begin) > 0.002 for begin in begins[1:]):
        assert abs(level(frame_at(payload, share)) - level(frames[number])) < 8
    clip, seconds, _ = normalise_video(payload, "video/mp4", 32, 8, 3.0)
    assert seconds <= 3.0 and len(decode_video(clip)) == round(8 * seconds)
    for k, frame in enumerate(decode_video(clip)):
        number = int(np.searchsorted(begins, k / 8, side="right")) - 1
        if all(abs(k / 8 - begin) > 0.002 for begin in begins[1:]):
            assert abs(level(frame) - level(frames[number])) < 8, (k, begins)


def test_frames_that_are_predicted_from_later_ones_come_in_their_order() -> None:
    frames = [gray(20 + 20 * k) for k in range(10)]
    payload = files.video(frames, [k / 10 for k in range(10)], codec="libx264", bf="3")
    assert [round(level(frame.image()) / 20) for frame in frames_of(payload)] == list(range(1, 11))


def test_a_first_frame_that_is_held_for_long_makes_no_single_image_of_a_clip() -> None:
    clip, seconds, _ = normalise_video(files.video([gray(60), gray(200)], [0, 8.0]), "video/mp4", 32, 8, 3.0)
    assert seconds == 3.0 and all(abs(level(frame) - 60) < 4 for frame in decode_video(clip))
    with pytest.raises(MediaError, match="a single image"):
        normalise_video(files.video([gray(60)]), "video/mp4")


def test_a_broadcast_that_was_joined_or_begins_in_the_middle_goes_on() -> None:
    frames = [gray(20 + 5 * k) for k in range(30)]
    payload = files.video(frames, form="mpegts", codec="mpeg2video", times=[k / 25 for k in range(30)], rate=25, g="10")
    joined = [frame.end for frame in frames_of(payload + payload)]
    assert len(joined) == 60 and joined == sorted(joined) and joined[-1] < 3
    late = files.video(frames, [k / 25 + 40 for k in range(30)], "mpegts", "mpeg2video", rate=25, g="10")
    assert list(frames_of(payload + late))[-1].end < 3
    cut = list(frames_of(payload[188 * 12 :]))
    assert 10 < len(cut) < 30


def test_frames_may_change_their_size() -> None:
    parts = [
        files.video([files.scene(*size)] * 3, [0, 0.04, 0.08], "mpegts", "mpeg2video", rate=25)
        for size in ((96, 64), (64, 96))
    ]
    assert {frame.image().size for frame in frames_of(b"".join(parts))} == {(96, 64), (64, 96)}
    assert normalise_video(b"".join(parts), "video/mp2t").seconds > 0


def test_the_still_of_an_animated_png_is_no_part_of_it() -> None:
    images = [Image.new("RGB", (8, 8), colour) for colour in (files.RED, files.GREEN, files.BLUE)]
    for default in (False, True):
        data = files.encoded(
            images[0], "PNG", save_all=True, append_images=images[1:], duration=200, default_image=default
        )
        assert [frame.image().getpixel((0, 0)) for frame in frames_of(data)] == [
            *map(tuple, (files.RED, files.GREEN, files.BLUE))
        ][default:]
        assert frame_at(data, 0.9).getpixel((0, 0)) == files.BLUE
    turned = files.encoded(SCENE, "WEBP", save_all=True, append_images=[SCENE.rotate(180)], exif=files.exif(6))
    assert first(turned).size == (64, 96)


# --- tracks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mp4", "mov"])
@pytest.mark.parametrize("cover", ["first", "last"])
def test_the_track_that_moves_is_shown_and_not_its_cover(form: str, cover: str) -> None:
    payload = files.video([SCENE] * 8, form=form, cover=cover, sound=440)
    assert tracks_of(payload) == {"video", "audio"}
    assert files.unlike(first(payload), SCENE) < CODED and files.unlike(frame_at(payload, 0.5), SCENE) < CODED
    assert normalise_video(payload, "video/mp4").seconds == 1.0


def test_the_track_marked_as_the_default_is_shown() -> None:
    for chosen in (0, 1):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="matroska") as container:
            tracks = [container.add_stream("mpeg4", rate=8) for _ in range(2)]
            for number, track in enumerate(tracks):
                track.width = track.height = 32
                track.disposition = av.stream.Disposition.default if number == chosen else 0
            for number, track in enumerate(tracks):
                for _ in range(3):
                    container.mux(track.encode(av.VideoFrame.from_ndarray(gray(60 + 100 * number), format="rgb24")))
                container.mux(track.encode(None))
        assert abs(level(first(buffer.getvalue())) - (60 + 100 * chosen)) < 4


def test_a_cover_alone_is_no_video() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        cover, tone = files.add_cover(container), container.add_stream("aac", rate=16_000, layout="mono")
        files.fill_cover(container, cover)
        files.add_tone(container, tone, 440, 1)
    assert tracks_of(buffer.getvalue()) == {"audio"}
    with pytest.raises(MediaError, match="only a cover"):
        first(buffer.getvalue())


WHOLE = files.video([SCENE] * 4, sound=440)


@few
@given(st.data())
def test_damaged_clips_are_read_or_refused_never_crash(data: st.DataObject) -> None:
    payload = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    try:
        clip, seconds, _ = normalise_video(damaged, "video/mp4", 16)
        assert len(decode_video(clip)) == round(8 * seconds)
    except MediaError as error:
        assert "\n" not in str(error) and str(error)
