"""Media that connectors read: by their tracks, the still of the right moment, the audio without its cover."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from codi2_datasets.connectors import CorpusLocation
from codi2_datasets.readers.media import RawMedium, is_cut_out, media_type_of, medium, sound_of, still_of
from codi2_datasets.readers.sounds import heard
from codi2_datasets.readers.values import Bad
from tests.datasets import media_files as files

few = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
SCENE = files.scene()
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)


def gray(level: int) -> np.ndarray:
    return np.full((32, 32, 3), level, np.uint8)


def shown(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png)).convert("RGB")


def kinds(data: bytes, caption: str = "a caption") -> list[str] | str:
    found = medium(data, "x", ("audio", "video"))
    rows = found if isinstance(found, Bad) else heard(CorpusLocation("x", "x"), "x", found, caption, {}, "CC0-1.0")
    return rows.reason if isinstance(rows, Bad) else [row.modality for row in rows]


def test_audio_with_a_cover_gives_audio_alone_and_a_clip_all_three() -> None:
    song = files.contained(TONE[:, None], "mono", "mp4", "aac", 16_000)
    assert kinds(song) == ["audio"] and kinds(files.audio(TONE)) == ["audio"]
    for cover in ("first", "last"):
        clip = files.video([SCENE] * 8, cover=cover, sound=440)
        assert kinds(clip) == ["audio", "video", "image"]
        assert files.unlike(shown(still_of(clip)), SCENE) < 12
    assert kinds(files.video([SCENE] * 8)) == "no audio track"
    assert kinds(files.video([SCENE], sound=440)) == ["audio"]  # a still that nobody marked as a cover


def test_a_container_is_what_its_tracks_are() -> None:
    clip, mute = files.video([SCENE] * 4, sound=440), files.video([SCENE] * 4)
    song = files.contained(TONE[:, None], "mono", "webm", "libopus", 48_000)
    told = {
        (data, wanted): medium(data, "x", wanted)
        for data in (clip, mute, song)
        for wanted in (("audio",), ("video",), ("image",))
    }
    types = [found.reason if isinstance(found, Bad) else found.media_type for found in told.values()]
    assert types == ["audio/wav", "video/mp4", "video, not image", "no audio in it", "video/mp4", "video, not image",
                     "audio/webm", "no video in it", "video, not image"]  # fmt: skip
    damaged = medium(clip[:300], "x", ("audio", "video"))
    assert isinstance(damaged, Bad) and "damaged" in damaged.reason


@few
@given(st.lists(st.integers(50, 3_000), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 2_000))
def test_a_still_is_of_its_share_of_the_duration(lasts: list[int], share: float, start: int) -> None:
    begins = np.concatenate([[0], np.cumsum(lasts)]) / 1000
    clip = files.video([gray(30 + 30 * n) for n in range(len(begins))], (begins + start / 1000).tolist(), "matroska")
    end = begins[-1] + 0.001  # of which Matroska keeps no note: a tick of its clock
    at = share * end
    if all(abs(at - begin) > 0.003 for begin in begins[1:]):
        number = int(np.searchsorted(begins, at, side="right")) - 1
        assert abs(files.pixels(shown(still_of(clip, share))).mean() - (30 + 30 * number)) < 8


def test_a_turned_clip_gives_an_upright_still() -> None:
    still = shown(still_of(files.video([SCENE] * 4, turn=(-90,))))
    assert files.unlike(still, SCENE.transpose(Image.Transpose.ROTATE_270)) < 12


def test_the_sound_of_a_clip_is_no_silence_and_never_clipped() -> None:
    inverted = files.contained(np.stack([TONE, -TONE], axis=1), "stereo", "mov", "pcm_f32le", 16_000)
    samples, rate = soundfile.read(io.BytesIO(sound_of(inverted)))
    assert rate == 16_000 and len(samples) == 16_000 and abs(np.abs(samples).max() - 0.3) < 0.01
    loud, _ = soundfile.read(
        io.BytesIO(sound_of(files.contained(9 * TONE[:, None], "mono", "mov", "pcm_f32le", 16_000)))
    )
    assert np.abs(loud - TONE / 0.3).max() < 0.001


def test_a_thing_on_nothing_is_told_in_every_kind_of_file() -> None:
    layer = SCENE.convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 24, 32))
    for kind in ("PNG", "WEBP", "GIF", "AVIF", "TIFF"):
        data = files.encoded(layer, kind)
        assert is_cut_out(RawMedium(data, media_type_of(data))), kind
        whole = files.encoded(SCENE, kind)
        assert not is_cut_out(RawMedium(whole, media_type_of(whole))), kind
    palette = files.encoded(SCENE.quantize(3), "PNG", transparency=bytes([0, 255, 255]))
    assert is_cut_out(RawMedium(palette, "image/png"))
    broken = files.encoded(layer, "PNG", exif=files.exif(6))
    assert is_cut_out(RawMedium(broken, "image/png")) and not is_cut_out(RawMedium(broken[:80], "image/png"))
