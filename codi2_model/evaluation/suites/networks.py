"""Judges of published suites, from local folders in the format of transformers. Loaded on first use, never downloaded.

<weights>/clip/              CLIPModel: ViT-B/32 in most suites
<weights>/dino/              ViTModel: DINO ViT-S/16
<weights>/clap/              ClapModel
<weights>/audio_classifier/  ASTForAudioClassification, for KL and Frechet distances of audio
<weights>/inception.pth      Inception of FID (pt_inception-2015-12-05); or <weights>/inception/, any vision model
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.audio import resample
from codi2_datasets.runtime.progress import progress
from codi2_model.evaluation.judges import Embeddings, unit
from codi2_storage.errors import UsageError

BATCH = 16
LAYOUT = {
    "clip": "a CLIPModel with its tokenizer, saved by transformers",
    "dino": "a ViTModel saved by transformers",
    "clap": "a ClapModel with its tokenizer and feature extractor, saved by transformers",
    "audio_classifier": "an ASTForAudioClassification with its feature extractor, saved by transformers",
    "inception": "inception.pth (the weights of FID) or a folder inception with any vision model of transformers",
}


class WeightsMissing(UsageError):
    """The weights of a judge are missing; the message names the folder and its expected content."""


class Networks:
    """Judges from a folder of weights."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def check(self, names: Sequence[str]) -> None:
        """Raise WeightsMissing unless the weights of all named judges exist."""
        for name in names:
            paths = [self.folder / name, *([self.folder / "inception.pth"] if name == "inception" else [])]
            if not any(path.exists() for path in paths):
                raise WeightsMissing(f"{self.folder / name}: missing; expected {LAYOUT[name]}")

    def clip_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """CLIP embeddings of images (N, D), unit length."""
        model, _ = self._clip
        shape = image_preprocessing(self.folder / "clip")
        return unit(self._batches("clip", images, lambda x: model.get_image_features(x).pooler_output, shape))

    def clip_texts(self, texts: Sequence[str]) -> Embeddings:
        """CLIP embeddings of texts (N, D), unit length; truncated to 77 tokens."""
        model, tokenizer = self._clip
        longest = model.config.text_config.max_position_embeddings
        return unit(self._texts(texts, tokenizer, longest, lambda t: model.get_text_features(**t).pooler_output))

    def dino_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """DINO class tokens (N, D) after the last norm, unit length."""
        model, shape = self._dino, image_preprocessing(self.folder / "dino")
        return unit(self._batches("dino", images, lambda x: model(x).last_hidden_state[:, 0], shape))

    def inception_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Inception features (N, 2048) at 299 px, or pooled features of another network; not normalised."""
        if (self.folder / "inception.pth").is_file():
            model = self._inception
            return self._batches("inception", images, model, ImagePreprocessing(299, (0.5,) * 3, (0.5,) * 3))
        model, shape = self._features, image_preprocessing(self.folder / "inception")
        return self._batches("inception", images, lambda x: pooled(model(x)), shape)

    def clap_audio(self, waves: Sequence[NDArray[np.floating]]) -> Embeddings:
        """CLAP embeddings of mono 16 kHz audio (N, D), unit length."""
        model, extractor, _ = self._clap

        def embed(piece: Sequence[NDArray[np.floating]]) -> torch.Tensor:
            rate = extractor.sampling_rate
            inputs = extractor([at_rate(wave, rate) for wave in piece], sampling_rate=rate, return_tensors="pt")
            return model.get_audio_features(**inputs.to(self.device)).pooler_output

        return unit(self._pieces("clap", waves, embed))

    def clap_texts(self, texts: Sequence[str]) -> Embeddings:
        """CLAP embeddings of texts (N, D), unit length."""
        model, _, tokenizer = self._clap
        longest = model.config.text_config.max_position_embeddings - 2  # RoBERTa reserves two positions
        return unit(self._texts(texts, tokenizer, longest, lambda t: model.get_text_features(**t).pooler_output))

    def audio_classes(self, waves: Sequence[NDArray[np.floating]]) -> tuple[Embeddings, Embeddings]:
        """Features (N, D) and class probabilities (N, K) of mono 16 kHz audio.

        The probabilities are a softmax over the logits, as in published KL figures, although AudioSet classes are not
        exclusive.
        """
        model, extractor = self._classifier

        def classify(piece: Sequence[NDArray[np.floating]]) -> torch.Tensor:
            rate = extractor.sampling_rate
            waves = [at_rate(wave, rate) for wave in piece]
            inputs = extractor(waves, sampling_rate=rate, return_tensors="pt").to(self.device)
            output = model(**inputs, output_hidden_states=True)
            features = model.audio_spectrogram_transformer.layernorm(output.hidden_states[-1])[:, :2].mean(1)
            return torch.cat([features, output.logits.softmax(-1)], 1)

        rows = self._pieces("audio classifier", waves, classify)
        return rows[:, : model.config.hidden_size], rows[:, model.config.hidden_size :]

    @cached_property
    def _clip(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer, CLIPModel

        folder = self.folder / "clip"
        return self._ready(CLIPModel.from_pretrained(folder)), AutoTokenizer.from_pretrained(folder)

    @cached_property
    def _dino(self) -> Any:
        from transformers import ViTModel

        return self._ready(ViTModel.from_pretrained(self.folder / "dino", add_pooling_layer=False))

    @cached_property
    def _features(self) -> Any:
        from transformers import AutoModel

        return self._ready(AutoModel.from_pretrained(self.folder / "inception"))

    @cached_property
    def _inception(self) -> Any:
        from codi2_model.evaluation.suites.inception import load_inception

        return self._ready(load_inception(self.folder / "inception.pth"))

    @cached_property
    def _clap(self) -> tuple[Any, Any, Any]:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        folder = self.folder / "clap"
        extractor = ClapFeatureExtractor.from_pretrained(folder)
        return self._ready(ClapModel.from_pretrained(folder)), extractor, AutoTokenizer.from_pretrained(folder)

    @cached_property
    def _classifier(self) -> tuple[Any, Any]:
        from transformers import ASTFeatureExtractor, ASTForAudioClassification

        folder = self.folder / "audio_classifier"
        return self._ready(ASTForAudioClassification.from_pretrained(folder)), ASTFeatureExtractor.from_pretrained(
            folder
        )

    def _ready(self, model: Any) -> Any:
        return model.eval().requires_grad_(False).to(self.device)

    def _batches(
        self, label: str, images: Sequence[Image.Image], embed: Callable[[Any], Any], shape: ImagePreprocessing
    ) -> Embeddings:
        return self._pieces(label, images, lambda piece: embed(torch.stack([shape(i) for i in piece]).to(self.device)))

    def _texts(self, texts: Sequence[str], tokenizer: Any, longest: int, embed: Callable[[Any], Any]) -> Embeddings:
        def read(piece: Sequence[str]) -> torch.Tensor:
            tokens = tokenizer(list(piece), padding=True, truncation=True, max_length=longest, return_tensors="pt")
            return embed({k: v.to(self.device) for k, v in tokens.items() if k in ("input_ids", "attention_mask")})

        return self._pieces("texts", texts, read)

    @torch.inference_mode()
    def _pieces(self, label: str, media: Sequence[Any], embed: Callable[[Sequence[Any]], Any]) -> Embeddings:
        rows = []
        with progress(f"judge {label}", len(media), "media") as advance:
            for start in range(0, len(media), BATCH):
                piece = media[start : start + BATCH]
                rows.append(embed(piece).float().cpu().numpy())
                advance(len(piece))
        return np.concatenate(rows)


class ImagePreprocessing:
    """Preprocessing of images for a network: resize with PIL, normalise mean and deviation."""

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        short: int | None = None,
        resample: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> None:
        """short: resize the shorter side to this, then centre crop; None: resize to the square without keeping the ratio."""
        self.size, self.short, self.resample = size, short, resample
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    def __call__(self, image: Image.Image) -> torch.Tensor:
        rgb, size = image.convert("RGB"), self.size
        if self.short is None:
            rgb = rgb.resize((size, size), self.resample)
        else:
            least = min(rgb.size)
            wide, high = self.short * rgb.width // least, self.short * rgb.height // least
            left, top = (wide - size) // 2, (high - size) // 2
            rgb = rgb.resize((wide, high), self.resample).crop((left, top, left + size, top + size))
        pixels = torch.from_numpy(np.array(rgb, np.float32)).permute(2, 0, 1) / 255
        return (pixels - self.mean) / self.std


def image_preprocessing(folder: Path) -> ImagePreprocessing:
    """The preprocessing in a folder's preprocessor_config.json. Raises WeightsMissing without it."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise WeightsMissing(f"{path}: missing; it defines the preprocessing of images")
    config = json.loads(path.read_text("utf-8"))
    side = side_of(config.get("size"))
    resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
    normalisation = (config["image_mean"], config["image_std"])
    if config.get("do_center_crop"):
        return ImagePreprocessing(side_of(config.get("crop_size", side)), *normalisation, short=side, resample=resample)
    return ImagePreprocessing(side, *normalisation, resample=resample)


def side_of(size: dict[str, int] | int | None) -> int:
    """Side of a size in preprocessor_config.json: a number, a shortest edge, or height and width."""
    if isinstance(size, dict):
        return size.get("shortest_edge") or size["height"]
    return size or 224


def pooled(output: Any) -> torch.Tensor:
    """Pooled features (N, D) of a vision model of transformers: its pooler output, or else the mean over positions."""
    if getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    hidden = output.last_hidden_state
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(1)


def at_rate(wave: NDArray[np.floating], rate: int) -> NDArray[np.float32]:
    """Resample mono audio from 16 kHz."""
    return resample(np.asarray(wave, np.float64), SAMPLE_RATE, rate).astype(np.float32)
