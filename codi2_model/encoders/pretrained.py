"""Published encoder families behind one interface: ImageBind (own implementation), CLIP, SigLIP and CLAP (transformers).

A family embeds several modalities into one space. The canonical form of media is in [-1, 1]: image (N, 3, S, S), audio
(N, 1, samples) at 16 kHz, video (N, 3, T, S, S). Each family resizes, resamples and normalises them on their device.

A family is built from a plain dict {"config": {...}}, also on the meta device. `describe(source)` reads that dict from a
local folder and `load(source)` loads the weights. The content of `preprocessor_config.json` goes into the key
"preprocessor" of the config, because checkpoints of one architecture differ in it.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    ClapAudioConfig,
    ClapAudioModelWithProjection,
    ClapConfig,
    CLIPConfig,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    SiglipConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.audio_utils import mel_filter_bank

from codi2_model.encoders.family import Family, ImageBindFamily, PublishedFamily
from codi2_model.encoders.imagebind.inputs import IMAGE_MEAN, IMAGE_STD, SAMPLE_RATE
from codi2_model.encoders.resize import byte_values, resize

__all__ = ["FAMILIES", "ClapFamily", "ClipFamily", "Family", "ImageBindFamily", "SiglipFamily", "resample"]

RESAMPLING = {2: "bilinear", 3: "bicubic"}  # numbers of PIL, as in preprocessor_config.json
OTHER_TOWER = ("text_", "logit_")  # keys of a whole model's checkpoint that do not belong to the tower


def read_config(source: str) -> dict[str, Any]:
    """config.json of a folder, and its preprocessor_config.json under "preprocessor". Raises ValueError without config.json."""
    file = Path(source) / "config.json"
    if not file.is_file():
        raise ValueError(f"{source}: no config.json; expected a local folder in the format of transformers")
    config = json.loads(file.read_text(encoding="utf-8"))
    if (preprocessor := file.with_name("preprocessor_config.json")).is_file():
        config["preprocessor"] = json.loads(preprocessor.read_text(encoding="utf-8"))
    return config


class TransformersFamily(PublishedFamily):
    """Base of families that wrap a transformers model, built from its config and loaded with `from_pretrained`."""

    model_class: ClassVar[type[PreTrainedModel]]

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        values = dict(options["config"])
        self.preprocessor: dict[str, Any] = values.pop("preprocessor", {})
        self.config: Any = self._config(values)
        self.model: Any = self.model_class(self.config)
        self.train(False)

    @staticmethod
    def _config(values: dict[str, Any]) -> Any:
        """The config of the tower, from that of the tower or of the whole model."""
        raise NotImplementedError

    @classmethod
    def describe(cls, source: str) -> dict[str, Any]:
        """Read {"config": ...} from the files of a folder. Raises ValueError without config.json."""
        return {"config": read_config(source)}

    def load(self, source: str) -> None:
        """Load weights from a local folder as float32 on the CPU.

        Raises ValueError for weights that are missing, unknown or of another shape.
        """
        result: Any = self.model_class.from_pretrained(
            source,
            config=copy.deepcopy(self.config),
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
        )
        model, report = result
        unknown = [
            key for key in report["unexpected_keys"] if not key.startswith(OTHER_TOWER) and "position_ids" not in key
        ]
        wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"], *unknown]))
        if wrong:
            raise ValueError(f"{source}: weights missing, unknown or of another shape: {', '.join(wrong)}")
        # Buffers that are not in checkpoints (positions) would stay on the meta device.
        for name, value in model.named_buffers():
            module, _, leaf = name.rpartition(".")
            self.model.get_submodule(module)._buffers[leaf] = value
        self.model.load_state_dict(model.state_dict(), strict=True, assign=True)


class ImageFamily(TransformersFamily):
    """Base of image towers; the features of a video are the mean over its frames."""

    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        if modality == "image":
            return self._embed(self.prepare(media), grid)
        frames = media.transpose(1, 2)
        features = self._embed(self.prepare(frames.flatten(0, 1)), 0)
        return features.unflatten(0, tuple(frames.shape[:2])).mean(dim=1)

    def prepare(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> pixel_values (N, 3, image_size, image_size), as the PIL processors of transformers."""
        size = self.config.image_size
        name = RESAMPLING.get(self.preprocessor.get("resample", 3))
        if name is None:
            raise ValueError(
                f"preprocessor_config.json: resample {self.preprocessor['resample']}, expected one of {RESAMPLING}"
            )
        pixels = resize(byte_values(images), (size, size), name).float() / 255.0
        mean = torch.tensor(self.preprocessor.get("image_mean", self.mean), device=pixels.device)[:, None, None]
        std = torch.tensor(self.preprocessor.get("image_std", self.std), device=pixels.device)[:, None, None]
        return ((pixels - mean) / std).to(self._dtype())

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        raise NotImplementedError


class ClipFamily(ImageFamily):
    """CLIP's vision tower with its projection. Patch features use the norm and projection of the class token."""

    model_class = CLIPVisionModelWithProjection
    mean, std = IMAGE_MEAN, IMAGE_STD
    grids = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.width = self.config.projection_dim

    @staticmethod
    def _config(values: dict[str, Any]) -> CLIPVisionConfig:
        if values.get("model_type") == "clip_vision_model":
            return CLIPVisionConfig.from_dict(values)
        whole: Any = CLIPConfig.from_dict(values)
        # Some checkpoints have another projection_dim in vision_config; CLIPModel uses the outer one.
        whole.vision_config.projection_dim = whole.projection_dim
        return whole.vision_config

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        output = self.model(pixels)
        if not grid:
            return output.image_embeds[:, None]
        side = self.config.image_size // self.config.patch_size
        if grid > side:
            raise ValueError(f"a grid of side {grid}, expected 1 to {side} patches")
        field = output.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        patches = F.adaptive_avg_pool2d(field, grid).flatten(2).transpose(1, 2)
        patches = self.model.visual_projection(self.model.vision_model.post_layernorm(patches))
        return torch.cat([output.image_embeds[:, None], patches], dim=1)


class SiglipFamily(ImageFamily):
    """SigLIP's vision tower with its attention pooling."""

    model_class = SiglipVisionModel

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.width = self.config.hidden_size

    @staticmethod
    def _config(values: dict[str, Any]) -> SiglipVisionConfig:
        if values.get("model_type") == "siglip_vision_model":
            return SiglipVisionConfig.from_dict(values)
        whole: Any = SiglipConfig.from_dict(values)
        return whole.vision_config

    def _embed(self, pixels: Tensor, grid: int) -> Tensor:
        return self.model(pixels).pooler_output[:, None]


@lru_cache(maxsize=8)
def _resampling_kernel(old: int, new: int, width: int = 64) -> Tensor:
    """Low-pass filters (new, 1, old + 2 * reach), one per phase of the output: a sinc under a Kaiser window, float64.

    Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample; `width` zero crossings on either side.
    """
    with torch.device("cpu"):
        cutoff = 0.97 * min(old, new)  # transition band below the lower Nyquist frequency
        reach = math.ceil(width * old / cutoff)
        taps = torch.arange(-reach, old + reach, dtype=torch.float64) / old
        times = (taps[None] - torch.arange(new, dtype=torch.float64)[:, None] / new) * cutoff  # in zero crossings
        inside = (1 - (times / width) ** 2).clamp_min(0)
        window = torch.special.i0(10.0 * inside.sqrt()) / torch.special.i0(torch.tensor(10.0, dtype=torch.float64))
        kernel = torch.sinc(times) * torch.where(inside > 0, window, 0.0) * cutoff / old
        return kernel[:, None]


def resample(waves: Tensor, old: int, new: int) -> Tensor:
    """(N, samples) at `old` Hz -> (N, ceil(samples * new / old)) at `new` Hz, band-limited, by one strided convolution."""
    if old == new:
        return waves
    common = math.gcd(old, new)
    old, new = old // common, new // common
    kernel = _resampling_kernel(old, new).to(waves.device)
    reach = (kernel.shape[-1] - old) // 2
    # Float64: GPUs convolve float32 with a mantissa of ten bits, whose noise would dominate the quiet mel bins.
    resampled = F.conv1d(F.pad(waves[:, None].double(), (reach, reach + old)), kernel, stride=old)  # (N, new, steps)
    return resampled.transpose(1, 2).flatten(1)[:, : math.ceil(waves.shape[1] * new / old)].to(waves.dtype)


@lru_cache(maxsize=4)
def _clap_filters(bins: int, mels: int, low: float, high: float, rate: int, slaney: bool) -> Tensor:
    norm, scale = ("slaney", "slaney") if slaney else (None, "htk")
    return torch.from_numpy(mel_filter_bank(bins, mels, low, high, rate, norm=norm, mel_scale=scale)).float()


class ClapFamily(TransformersFamily):
    """CLAP's audio tower with its projection, and its front end for audio up to the maximum length of the model."""

    model_class = ClapAudioModelWithProjection
    modalities = ("audio",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self.width = self.config.projection_dim
        defaults = {
            "feature_size": self.config.num_mel_bins,
            "sampling_rate": 48000,
            "hop_length": 480,
            "max_length_s": 10,
        }
        defaults |= {"fft_window_size": 1024, "frequency_min": 0, "frequency_max": 14000, "padding": "repeatpad"}
        defaults["truncation"] = "fusion" if self.config.enable_fusion else "rand_trunc"
        self.front: dict[str, Any] = defaults | self.preprocessor

    @staticmethod
    def _config(values: dict[str, Any]) -> ClapAudioConfig:
        if values.get("model_type") == "clap_audio_model":
            return ClapAudioConfig.from_dict(values)
        whole: Any = ClapConfig.from_dict(values)
        return whole.audio_config

    def _features(self, modality: str, media: Tensor, grid: int) -> Tensor:
        with torch.autocast(media.device.type, enabled=False):  # half precision would lose the quiet bins
            mels = self.mels(resample(media[:, 0].float(), SAMPLE_RATE, self.front["sampling_rate"])).to(self._dtype())
        longer = None
        if self.config.enable_fusion:
            mels = mels.expand(-1, 4, -1, -1)
            longer = torch.zeros(len(mels), 1, dtype=torch.bool, device=mels.device)
        return self.model(input_features=mels, is_longer=longer).audio_embeds[:, None]

    def mels(self, waves: Tensor) -> Tensor:
        """(N, samples) at the sampling rate of the front end -> log-mels in dB (N, 1, frames, mels), as ClapFeatureExtractor.

        Raises ValueError for audio above the maximum length, which the published front end crops at random.
        """
        front = self.front
        rate, size = front["sampling_rate"], front["fft_window_size"]
        waves = self._fill(waves, int(front["max_length_s"] * rate))
        window = torch.hann_window(size, device=waves.device)
        spectrum = torch.stft(waves, size, front["hop_length"], window=window, pad_mode="reflect", return_complex=True)
        limits = (float(front["frequency_min"]), float(front["frequency_max"]))
        filters = _clap_filters(size // 2 + 1, front["feature_size"], *limits, rate, front["truncation"] != "fusion")
        power = spectrum.abs().square().transpose(1, 2) @ filters.to(waves.device)
        return 10.0 * torch.log10(power.clamp_min(1e-10))[:, None]

    def _fill(self, waves: Tensor, length: int) -> Tensor:
        """Repeat and pad audio to the length that the model was trained with."""
        samples = waves.shape[1]
        if samples > length:
            seconds = self.front["max_length_s"]
            raise ValueError(
                f"audio of {samples} samples at {self.front['sampling_rate']} Hz exceeds the maximum of {seconds} s"
            )
        times = {"repeatpad": length // samples, "repeat": length // samples + 1, "pad": 1}[self.front["padding"]]
        waves = waves.repeat(1, times)[:, :length]
        return F.pad(waves, (0, length - waves.shape[1]))


FAMILIES: dict[str, type[ImageBindFamily] | type[TransformersFamily]] = {
    "imagebind": ImageBindFamily,
    "clip": ClipFamily,
    "siglip": SiglipFamily,
    "clap": ClapFamily,
}
"""Name in a config -> class with `describe(source)` and `load(source)`."""
