"""Audio of others is heard as a player plays it: every coding and container, any number of channels, never false silence."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.media import MediaError, TooLarge
from codi2_datasets.media.audio import decode_audio, normalise_audio
from codi2_datasets.media.decoding.audio_files import Limits, read_audio, to_mono
from tests.datasets import media_files as files

few = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
SECOND = np.arange(48_000) / 48_000


def tone(pitch: float, loud: float = 0.3) -> np.ndarray:
    return loud * np.sin(2 * np.pi * pitch * SECOND)


def heard(payload: bytes) -> np.ndarray:
    return read_audio(payload, Limits(10.0))[0]


def strengths(samples: np.ndarray, rate: int, pitches: tuple[int, ...]) -> np.ndarray:
    """How loud each pitch is, beside the first."""
    middle = samples[rate // 4 : rate // 4 + rate // 2] * np.hanning(rate // 2)
    spectrum = np.abs(np.fft.rfft(middle))
    found = np.array([spectrum[pitch // 2] for pitch in pitches])
    return found / found[0]


# --- channels --------------------------------------------------------------------------------------------------------


@few
@given(st.floats(0.9, 1.1), st.integers(1, 8))
def test_channels_that_cancel_each_other_out_are_no_silence(share: float, pairs: int) -> None:
    channels = np.stack([tone(440), -share * tone(440)] * pairs, axis=1)
    loudest = tone(440) * max(1.0, share)
    assert np.abs(np.abs(to_mono(channels)).max() - loudest.max()) < 1e-6


@few
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=2))
def test_two_channels_are_averaged_unless_that_is_silence(gains: list[float]) -> None:
    noise = np.random.default_rng(0).standard_normal(1_000)
    channels = np.outer(noise, gains)
    mean, mono = channels.mean(axis=1), to_mono(channels)
    quiet = abs(sum(gains)) / 2 < 0.1 * max(map(abs, gains))
    assert np.allclose(mono, channels[:, int(np.abs(gains).argmax())] if quiet else mean)


def test_one_silent_channel_halves_and_no_more() -> None:
    one_sided = np.stack([tone(440), 0 * SECOND], axis=1)
    assert np.allclose(heard(files.audio(one_sided, 48_000, subtype="FLOAT")), tone(440) / 2, atol=1e-6)


PITCHES = (700, 300, 500, 60, 900, 1_100)  # centre first, then left, right, subwoofer, and behind


def surround() -> np.ndarray:
    return np.stack([tone(PITCHES[n], 0.1) for n in (1, 2, 0, 3, 4, 5)], axis=1)


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("mp4", "aac"),
        ("mpegts", "ac3"),
        ("webm", "libopus"),
        ("ogg", "libopus"),
        ("flac", "flac"),
        ("wav", "pcm_s16le"),
    ],
)
def test_surround_is_mixed_as_ffmpeg_mixes_it(form: str, codec: str) -> None:
    payload = files.contained(surround(), "5.1", form, codec)
    with av.open(io.BytesIO(payload)) as container:
        resampler = av.AudioResampler("flt", "mono", 48_000)
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    expected = strengths(np.concatenate(parts), 48_000, PITCHES)
    assert np.abs(strengths(heard(payload), 48_000, PITCHES) - expected).max() < 0.05


def test_a_subwoofer_alone_is_heard() -> None:
    channels = np.zeros((48_000, 6))
    channels[:, 3] = tone(60)
    assert np.allclose(heard(files.audio(channels, 48_000, subtype="FLOAT")), tone(60), atol=1e-6)


# --- codings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_every_depth_has_its_level(subtype: str) -> None:
    samples = heard(files.audio(tone(440), 48_000, subtype=subtype))
    assert abs(np.abs(samples).max() - 0.3) < 0.02 and abs(len(samples) - 48_000) < 2_000


@pytest.mark.parametrize(
    ("form", "codec"),
    [("mp4", "aac"), ("adts", "aac"), ("mov", "pcm_s24le"), ("webm", "libopus"), ("matroska", "flac"), ("avi", "mp3"),
     ("mp3", "libmp3lame"), ("wav", "adpcm_ms"), ("wav", "libmp3lame"), ("aiff", "pcm_s24be"), ("wv", "wavpack")],
)  # fmt: skip
def test_every_container_is_read_from_its_true_beginning(form: str, codec: str) -> None:
    burst = np.where(SECOND < 0.5, 0, tone(440))
    payload = files.contained(np.stack([burst, burst], axis=1), "stereo", form, codec)
    samples, rate = read_audio(payload, Limits(10.0))
    begins = int(np.argmax(np.abs(samples) > 0.1)) / rate
    allowed = 0.06 if form in ("adts", "wav", "avi") else 0.005  # these keep no note of what the encoder put before
    assert abs(begins - 0.5) < allowed and abs(len(samples) / rate - 1) < 0.1
    assert abs(np.abs(samples[round((begins + 0.1) * rate) :][: rate // 4]).max() - 0.3) < 0.05


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 96_000, 192_000, 384_000])
def test_every_rate_gives_the_same_length(rate: int) -> None:
    data, seconds = normalise_audio(files.audio(0.3 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate), rate))
    assert seconds == 1.0 and int(np.abs(np.fft.rfft(decode_audio(data))).argmax()) == 200


def test_floats_above_full_scale_are_lowered_and_what_is_no_number_is_refused() -> None:
    data, _ = normalise_audio(files.audio(10 * tone(440), 48_000, subtype="FLOAT"))
    samples = decode_audio(data)
    assert np.abs(samples).max() > 0.99 and (np.abs(samples) > 0.999).mean() < 0.05
    for value in (np.nan, np.inf):
        broken = tone(440)
        broken[7] = value
        with pytest.raises(MediaError, match="not numbers"):
            normalise_audio(files.audio(broken, 48_000, subtype="FLOAT"))


def test_tags_and_unwritten_lengths_hide_no_samples() -> None:
    whole, tag = files.audio(tone(440), 48_000), b"ID3\x04\0\0\0\0\x10\0" + bytes(2_048)
    for size in (0, 0xFFFFFFFF):
        assert len(heard(whole[:40] + struct.pack("<I", size) + whole[44:])) == 48_000
    for form in ("FLAC", "MP3"):
        assert len(heard(tag + files.audio(tone(440), 48_000, form))) == 48_000
    adts = files.contained(np.stack([tone(440)] * 2, axis=1), "stereo", "adts", "aac")
    assert len(heard(tag + adts)) >= 48_000


def test_the_track_marked_as_the_default_is_played() -> None:
    for chosen in (0, 1):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="matroska") as container:
            tracks = [container.add_stream("aac", rate=16_000, layout="mono") for _ in range(2)]
            for number, track in enumerate(tracks):
                track.disposition = av.stream.Disposition.default if number == chosen else 0
            for number, track in enumerate(tracks):
                files.add_tone(container, track, 400 + 400 * number, 1.0)
        samples, rate = read_audio(buffer.getvalue(), Limits(10.0))
        pitch = int(np.abs(np.fft.rfft(samples)).argmax()) * rate / len(samples)
        assert abs(pitch - (400 + 400 * chosen)) <= 2


# --- limits ----------------------------------------------------------------------------------------------------------


def test_no_more_is_read_than_is_wanted() -> None:
    for payload in (files.audio(tone(440), 48_000), files.contained(tone(440)[:, None], "mono", "mp4", "aac")):
        assert len(read_audio(payload, Limits(0.25))[0]) == 12_000
        with pytest.raises(TooLarge, match="more than 10,000 samples"):
            read_audio(payload, Limits(1.0, values=10_000))
        with pytest.raises(MediaError, match="sample rate of 48000 Hz"):
            read_audio(payload, Limits(1.0, rates=range(8_000, 16_001)))
    with pytest.raises(TooLarge, match=r"1\.0 s, more than 0\.5 s"):
        read_audio(files.audio(tone(440), 48_000), Limits(1.0, longest=0.5))


def test_what_holds_no_audio_says_so() -> None:
    silent = files.video([files.scene()] * 2)
    for payload, reason in (
        (silent, "no audio track"),
        (files.audio(tone(1)[:0]), "no samples"),
        (b"", "damaged or unknown"),
    ):
        with pytest.raises(MediaError, match=reason):
            normalise_audio(payload)
