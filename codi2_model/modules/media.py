"""Conversion between media (PIL images, waveforms, video frames) and the tensors of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from codi2_datasets.media.decoding.colour import over_white
from codi2_model.encoders.mel import log_mel
from codi2_model.options import AudioOptions, VideoOptions

VIDEO_FPS = 8  # frame rate of videos in samples, as the dataset stores them


def image_tensor(value: Any, size: int) -> torch.Tensor:
    """PIL image, or uint8 array (height, width, 3) -> (3, size, size) in [-1, 1].

    Colours are converted to 8-bit sRGB, transparency is composed over white, and images that are not square are padded
    with white. Raises ValueError for other types and shapes.
    """
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
            raise ValueError(f"image array is {value.dtype} {value.shape}, expected uint8 (height, width, 3)")
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise ValueError(f"image is a {type(value).__name__}, expected a PIL image")
    value = over_white(value)
    if value.width != value.height:
        side = max(value.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(value, ((side - value.width) // 2, (side - value.height) // 2))
        value = square
    if value.width != size:
        value = value.resize((size, size), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(value, dtype=np.float32))
    return pixels.permute(2, 0, 1).contiguous() / 127.5 - 1.0


def to_image(tensor: torch.Tensor) -> Image.Image:
    """(3, height, width) in [0, 1] -> PIL image. Raises ValueError for another range."""
    low, high = float(tensor.min()), float(tensor.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f"image values from {low:.3f} to {high:.3f}, expected [0, 1]")
    pixels = (tensor.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def fit_waveform(value: Any, options: AudioOptions) -> torch.Tensor:
    """Mono float waveform at options.sample_rate, of any length -> (samples,): truncated, or padded with silence.

    Raises ValueError for another type or shape, an empty waveform, and values that are not finite or far outside [-1, 1].
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not np.issubdtype(value.dtype, np.floating):
        what = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"audio is {what}, expected a mono array (samples,) of floats in [-1, 1]")
    if not len(value):
        raise ValueError("audio has no samples")
    wave = torch.from_numpy(np.array(value[: options.samples], dtype=np.float32))
    peak = float(wave.abs().max())
    if not np.isfinite(peak) or peak > 2.0:
        raise ValueError(f"audio has a peak of {peak}, expected floats in [-1, 1]")
    return torch.nn.functional.pad(wave.clamp(-1, 1), (0, options.samples - len(wave)))


def audio_tensor(value: Any, options: AudioOptions) -> torch.Tensor:
    """Mono float waveform of any length -> log-mel (1, mels, frames) or wave (1, samples), by options.form, in [-1, 1]."""
    wave = fit_waveform(value, options)[None]
    return wave if options.form == "wave" else log_mel(wave, options)[0]


def video_tensor(value: Any, options: VideoOptions) -> torch.Tensor:
    """Frames (T, height, width, 3) of uint8 at `VIDEO_FPS` -> (3, frames, size, size) in [-1, 1].

    Output frame k is the input at k / options.fps seconds. A short video repeats its last frame, a long one is truncated.
    Raises ValueError for another type or shape, or no frames.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
        what = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"video is {what}, expected an array (frames, height, width, 3) of uint8")
    if not len(value):
        raise ValueError("video has no frames")
    chosen = [min(int(k * VIDEO_FPS / options.fps), len(value) - 1) for k in range(options.frames)]
    tensors = {number: image_tensor(np.ascontiguousarray(value[number]), options.size) for number in set(chosen)}
    return torch.stack([tensors[number] for number in chosen], dim=1)


def to_frames(tensor: torch.Tensor, options: VideoOptions) -> np.ndarray:
    """(3, T, height, width) in [0, 1] -> (frames, height, width, 3) of uint8 at `VIDEO_FPS`, the inverse of `video_tensor`.

    Raises ValueError for another range.
    """
    frames = np.stack([np.asarray(to_image(frame)) for frame in tensor.unbind(dim=1)])
    count = max(1, len(frames) * VIDEO_FPS // options.fps)
    return frames[[k * options.fps // VIDEO_FPS for k in range(count)]]
