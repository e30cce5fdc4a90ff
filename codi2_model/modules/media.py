"""Pictures, sounds and clips as people hold them <-> tensors as the model takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from codi2_datasets.media.decoding.colour import over_white
from codi2_model.encoders.mel import log_mel
from codi2_model.options import AudioOptions, VideoOptions

VIDEO_FPS = 8  # of clips in samples, as the data set writes them


def image_tensor(value: Any, size: int) -> torch.Tensor:
    """A PIL picture, or an array (height, width, 3) of uint8 -> (3, size, size) in [-1, 1].

    Colours become 8-bit sRGB; alpha goes over white; what is not square is padded with white. Raises ValueError for
    anything else.
    """
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
            raise ValueError(f"picture array is {value.dtype} {value.shape}, expected uint8 (height, width, 3)")
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise ValueError(f"picture is a {type(value).__name__}, expected a PIL image")
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


def picture(tensor: torch.Tensor) -> Image.Image:
    """(3, height, width) in [0, 1] -> PIL picture. Raises ValueError for another range."""
    low, high = float(tensor.min()), float(tensor.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f"picture values from {low:.3f} to {high:.3f}, expected [0, 1]")
    pixels = (tensor.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def clip(value: Any, options: AudioOptions) -> torch.Tensor:
    """A mono float waveform at options.sample_rate, of any length -> (samples,): cut at the end or padded with silence.

    Raises ValueError for another type or shape, nothing at all, numbers that are not finite or far outside [-1, 1].
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not np.issubdtype(value.dtype, np.floating):
        what = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"sound is {what}, expected a mono array (samples,) of floats in [-1, 1]")
    if not len(value):
        raise ValueError("sound has no samples")
    wave = torch.from_numpy(np.array(value[: options.samples], dtype=np.float32))
    peak = float(wave.abs().max())
    if not np.isfinite(peak) or peak > 2.0:
        raise ValueError(f"sound has a peak of {peak}, expected floats in [-1, 1]")
    return torch.nn.functional.pad(wave.clamp(-1, 1), (0, options.samples - len(wave)))


def audio_tensor(value: Any, options: AudioOptions) -> torch.Tensor:
    """A mono float waveform of any length -> log-mel (1, mels, frames) or wave (1, samples), by options.form, in [-1, 1]."""
    wave = clip(value, options)[None]
    return wave if options.form == "wave" else log_mel(wave, options)[0]


def video_tensor(value: Any, options: VideoOptions) -> torch.Tensor:
    """Frames (T, height, width, 3) of uint8, `VIDEO_FPS` a second -> (3, frames, size, size) in [-1, 1].

    Frame k shows what the clip showed at k / options.fps seconds; a short clip stays on its last frame, a long one is cut.
    Raises ValueError for another type or shape, or no frames.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
        what = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"clip is {what}, expected an array (frames, height, width, 3) of uint8")
    if not len(value):
        raise ValueError("clip has no frames")
    chosen = [min(int(k * VIDEO_FPS / options.fps), len(value) - 1) for k in range(options.frames)]
    made = {number: image_tensor(np.ascontiguousarray(value[number]), options.size) for number in set(chosen)}
    return torch.stack([made[number] for number in chosen], dim=1)


def frames(tensor: torch.Tensor, options: VideoOptions) -> np.ndarray:
    """(3, T, height, width) in [0, 1] -> (frames, height, width, 3) of uint8, `VIDEO_FPS` a second: the way back of
    `video_tensor`. Raises ValueError for another range."""
    made = np.stack([np.asarray(picture(frame)) for frame in tensor.unbind(dim=1)])
    count = max(1, len(made) * VIDEO_FPS // options.fps)
    return made[[k * options.fps // VIDEO_FPS for k in range(count)]]
