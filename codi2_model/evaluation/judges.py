"""Judges, embedding networks independent of the model: EfficientNet-lite0 (images, video), aiSFX (audio), MiniLM (text).

- The weights come from packages, see `codi2_datasets.pretrained.embedders`.
- A judge only measures the distance of two media: candidates are ranked by the cosine of their embeddings.
- The judges of media share no data, code or weights with `codi2_model.encoders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import resample_poly

from codi2_datasets.media.video import at_moments
from codi2_datasets.operators.text_embedding import measure
from codi2_datasets.pretrained.embedders import aisfx, efficientnet

Embeddings = NDArray[np.float32]

IMAGE_SIZE = 224
VIDEO_FRAMES = 4
AISFX_RATE = 44_100
AISFX_WINDOW, AISFX_HOP, AISFX_MELS, AISFX_BLOCK = 2048, 1024, 96, 100
AISFX_MAX = 9.457798957824707  # maximum of the training spectrograms ('original' normalisation)


class Judge(Protocol):
    """Interface of a judge of one modality. `embed` returns (N, D) float32 rows of unit length."""

    name: str
    modality: str

    def embed(self, media: Sequence[Any]) -> Embeddings: ...


class ImageJudge:
    """EfficientNet-lite0 trained on ImageNet: 1280-d pooled features (Apache-2.0).

    Batches of 8 keep the early layers in the cache: twice as fast on CPU as batches of 32.
    """

    name = "efficientnet-lite0"
    modality = "image"

    def __init__(self, batch_size: int = 8) -> None:
        self.batch_size = batch_size
        self._model = efficientnet()

    def embed(self, media: Sequence[Image.Image]) -> Embeddings:
        """Images of any size and mode -> (N, 1280), unit length; N may be 0."""
        rows = [
            self._features(torch.stack([_image_tensor(image) for image in media[start : start + self.batch_size]]))
            for start in range(0, len(media), self.batch_size)
        ]
        return unit(np.concatenate(rows) if rows else np.zeros((0, 1280), np.float32))

    @torch.inference_mode()
    def _features(self, batch: torch.Tensor) -> Embeddings:
        return (
            self._model.extract_features(batch.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3)).numpy()
        )


class VideoJudge:
    """EfficientNet-lite0 on evenly spaced frames, averaged. Measures the content of a video, not its motion."""

    name = "efficientnet-lite0-frames"
    modality = "video"

    def __init__(self, frames: int = VIDEO_FRAMES) -> None:
        self.frames, self._judge = frames, ImageJudge()

    def embed(self, media: Sequence[NDArray[np.uint8]]) -> Embeddings:
        """Videos (T, H, W, 3) -> (N, 1280), unit length; N may be 0."""
        return unit(self.embed_frames(media).mean(1))

    def embed_frames(self, media: Sequence[NDArray[np.uint8]]) -> Embeddings:
        """Videos (T, H, W, 3) -> (N, frames, 1280), each frame of unit length."""
        images = [Image.fromarray(frame) for video in media for frame in at_moments(video, self.frames)]
        return self._judge.embed(images).reshape(len(media), self.frames, -1)


class TextJudge:
    """all-MiniLM-L6-v2: 384-d sentence embedding (Apache-2.0), English."""

    name = "all-minilm-l6-v2"
    modality = "text"

    def embed(self, media: Sequence[str]) -> Embeddings:
        """Texts -> (N, 384), unit length; the row of an empty text is zero."""
        rows: dict[str, Embeddings] = {"": np.zeros(384, np.float32)}
        for text in media:
            if text not in rows:
                rows[text] = measure(text)["text_embedding"] if text.strip() else rows[""]
        return np.stack([rows[text] for text in media]) if len(media) else np.zeros((0, 384), np.float32)


class AudioJudge:
    """aiSFX (X-Sequential-CE, trained on sound-effect libraries): 512-d embedding (weights CC-BY-4.0)."""

    name = "aisfx"
    modality = "audio"

    def __init__(self, batch_size: int = 32) -> None:
        self.batch_size = batch_size
        self._model = aisfx()

    def embed(self, media: Sequence[NDArray[np.floating]]) -> Embeddings:
        """Mono 16 kHz waveforms of any length -> (N, 512), unit length; N may be 0."""
        blocks = [_blocks(aisfx_spectrogram(np.asarray(wave, np.float32))) for wave in media]
        flat = np.concatenate(blocks) if blocks else np.zeros((0, AISFX_BLOCK, AISFX_MELS), np.float32)
        parts = [
            self._features(flat[start : start + self.batch_size]) for start in range(0, len(flat), self.batch_size)
        ]
        features = np.concatenate(parts) if parts else np.zeros((0, 512), np.float32)
        stops = np.cumsum([len(block) for block in blocks])
        rows = [features[stop - len(block) : stop].mean(0) for stop, block in zip(stops, blocks, strict=True)]
        return unit(np.stack(rows) if rows else features)

    @torch.inference_mode()
    def _features(self, batch: Embeddings) -> Embeddings:
        return self._model(torch.from_numpy(batch)).numpy()


def unit(rows: NDArray[np.floating]) -> Embeddings:
    """Rows scaled to length 1; zero rows stay zero, so their cosine with any row is 0."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.maximum(length, 1e-12)).astype(np.float32)


def aisfx_spectrogram(wave: NDArray[np.float32]) -> Embeddings:
    """Mono 16 kHz waveform -> (frames, 96): log-mel input of aiSFX, in numpy.

    Follows the chain of Essentia as in aisfx/spectrogram/spectrogram_essentia.py: 44.1 kHz, frames of 2048 every
    1024 samples with the first one centred on time 0, symmetric Hann window, power spectrum, 96 HTK-mel triangles
    (linear in mel, each normalised to sum 1) from 0 to 22,050 Hz, log10(10000 x + 1), divided by the training maximum.
    The loader's default replay gain of -6 dB is a factor of 1.
    """
    wave = resample_poly(wave, 441, 160).astype(np.float32) if len(wave) else np.zeros(1, np.float32)
    half = AISFX_WINDOW // 2
    padded = np.concatenate([np.zeros(half, np.float32), wave, np.zeros(half, np.float32)])
    starts = np.arange(0, len(wave), AISFX_HOP)  # frames with their centre within the audio
    frames = np.lib.stride_tricks.sliding_window_view(padded, AISFX_WINDOW)[starts]
    power = np.abs(np.fft.rfft(frames * np.hanning(AISFX_WINDOW).astype(np.float32), axis=-1)) ** 2
    return (np.log10(power @ _mel_filters().T * 1e4 + 1.0) / AISFX_MAX).astype(np.float32)


def _blocks(spectrogram: Embeddings) -> Embeddings:
    """(frames, mels) -> (blocks, 100, mels): 2.3 s each without overlap; a last block of less than half is dropped.

    The package's default overlaps blocks by half, which doubles the cost with little benefit for short audio.
    """
    count = max(1, (len(spectrogram) + AISFX_BLOCK // 2) // AISFX_BLOCK)
    padded = np.concatenate([spectrogram, np.zeros((AISFX_BLOCK, spectrogram.shape[1]), np.float32)])
    return padded[: count * AISFX_BLOCK].reshape(count, AISFX_BLOCK, -1)


@lru_cache(maxsize=1)
def _mel_filters() -> Embeddings:
    """(96, 1025) triangles between equally spaced HTK-mel points, linear in mel, each normalised to sum 1."""
    hz = np.linspace(0.0, AISFX_RATE / 2, AISFX_WINDOW // 2 + 1)
    mel = 2595.0 * np.log10(1.0 + hz / 700.0)
    edges = np.linspace(0.0, mel[-1], AISFX_MELS + 2)
    rise = (mel - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - mel) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rise, fall))
    return (filters / np.maximum(filters.sum(1, keepdims=True), 1e-12)).astype(np.float32)


def _image_tensor(image: Image.Image) -> torch.Tensor:
    """Any PIL image -> (3, 224, 224) in about [-1, 1]; transparency over white, bicubic.

    The weights are from the TensorFlow release, whose inputs are (x - 127) / 128. The package's example uses ImageNet's
    mean and deviation instead: on 120 animal cut-outs the mean top-1 probability was 0.38 with those, 0.48 with these.
    """
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = np.asarray(image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC), np.float32)
    return torch.from_numpy(((pixels - 127.0) / 128.0).transpose(2, 0, 1).copy())
