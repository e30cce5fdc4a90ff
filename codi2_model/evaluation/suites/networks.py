"""Judges of published suites, from local folders as transformers saves them. Loaded on first use, nothing is downloaded.

<weights>/clip/              CLIPModel: ViT-B/32 as most suites use it
<weights>/dino/              ViTModel: DINO ViT-S/16
<weights>/clap/              ClapModel
<weights>/audio_classifier/  ASTForAudioClassification, for KL and Frechet distances of sounds
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

BATCH = 16
LAYOUT = {
    "clip": "a CLIPModel with its tokenizer, saved by transformers",
    "dino": "a ViTModel saved by transformers",
    "clap": "a ClapModel with its tokenizer and feature extractor, saved by transformers",
    "audio_classifier": "an ASTForAudioClassification with its feature extractor, saved by transformers",
    "inception": "inception.pth (the weights of FID) or a folder inception with any vision model of transformers",
}


class WeightsMissing(ValueError):
    """A judge's weights are not in the folder; the message names the place and what belongs there."""


class Networks:
    """The judges of one folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def check(self, names: Sequence[str]) -> None:
        """Raises WeightsMissing before any work is done."""
        for name in names:
            places = [self.folder / name, *([self.folder / "inception.pth"] if name == "inception" else [])]
            if not any(place.exists() for place in places):
                raise WeightsMissing(f"{self.folder / name} is not there: {LAYOUT[name]}")

    def clip_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """(N, D), unit length."""
        model, _ = self._clip
        shape = picture_shape(self.folder / "clip")
        return unit(self._batches("clip", images, lambda x: model.get_image_features(x).pooler_output, shape))

    def clip_texts(self, texts: Sequence[str]) -> Embeddings:
        """(N, D), unit length; cut at CLIP's own 77 tokens."""
        model, tokenizer = self._clip
        longest = model.config.text_config.max_position_embeddings
        return unit(self._texts(texts, tokenizer, longest, lambda t: model.get_text_features(**t).pooler_output))

    def dino_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """(N, D) of the class token after the last norm, unit length."""
        model, shape = self._dino, picture_shape(self.folder / "dino")
        return unit(self._batches("dino", images, lambda x: model(x).last_hidden_state[:, 0], shape))

    def inception_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """(N, 2048) of the FID Inception at 299 px, or pooled features of the network that was given; not scaled."""
        if (self.folder / "inception.pth").is_file():
            model = self._inception
            return self._batches("inception", images, model, Shape(299, (0.5,) * 3, (0.5,) * 3))
        model, shape = self._features, picture_shape(self.folder / "inception")
        return self._batches("inception", images, lambda x: pooled(model(x)), shape)

    def clap_sounds(self, waves: Sequence[NDArray[np.floating]]) -> Embeddings:
        """(N, D), unit length, of mono 16 kHz sounds."""
        model, extractor, _ = self._clap

        def embed(piece: Sequence[NDArray[np.floating]]) -> torch.Tensor:
            rate = extractor.sampling_rate
            heard = extractor([at_rate(wave, rate) for wave in piece], sampling_rate=rate, return_tensors="pt")
            return model.get_audio_features(**heard.to(self.device)).pooler_output

        return unit(self._pieces("clap", waves, embed))

    def clap_texts(self, texts: Sequence[str]) -> Embeddings:
        """(N, D), unit length."""
        model, _, tokenizer = self._clap
        longest = model.config.text_config.max_position_embeddings - 2  # RoBERTa keeps two positions to itself
        return unit(self._texts(texts, tokenizer, longest, lambda t: model.get_text_features(**t).pooler_output))

    def sound_classes(self, waves: Sequence[NDArray[np.floating]]) -> tuple[Embeddings, Embeddings]:
        """(N, D) features and (N, K) class probabilities of mono 16 kHz sounds. Classes are not exclusive, as in
        AudioSet: the probabilities are a softmax over the logits, as published KL figures take them."""
        model, extractor = self._classifier

        def classify(piece: Sequence[NDArray[np.floating]]) -> torch.Tensor:
            rate = extractor.sampling_rate
            waves = [at_rate(wave, rate) for wave in piece]
            heard = extractor(waves, sampling_rate=rate, return_tensors="pt").to(self.device)
            found = model(**heard, output_hidden_states=True)
            features = model.audio_spectrogram_transformer.layernorm(found.hidden_states[-1])[:, :2].mean(1)
            return torch.cat([features, found.logits.softmax(-1)], 1)

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
        self, label: str, images: Sequence[Image.Image], embed: Callable[[Any], Any], shape: Shape
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


class Shape:
    """Images as a network takes them: resized by PIL, mean and deviation removed."""

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        short: int | None = None,
        resample: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> None:
        """`short`: the shorter side becomes this, and the middle is cut out; None: squeezed to the square instead."""
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


def picture_shape(folder: Path) -> Shape:
    """As the folder's preprocessor_config.json says."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise WeightsMissing(f"{path} is not there: it says how the network wants its pictures")
    config = json.loads(path.read_text("utf-8"))
    whole = side_of(config.get("size"))
    resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
    about = (config["image_mean"], config["image_std"])
    if config.get("do_center_crop"):
        return Shape(side_of(config.get("crop_size", whole)), *about, short=whole, resample=resample)
    return Shape(whole, *about, resample=resample)


def side_of(size: dict[str, int] | int | None) -> int:
    """A size as preprocessor_config.json has it: a number, a shortest edge, or height and width."""
    if isinstance(size, dict):
        return size.get("shortest_edge") or size["height"]
    return size or 224


def pooled(output: Any) -> torch.Tensor:
    """(N, D) of whatever a vision model of transformers gives: pooled where it pools, else the mean over places."""
    if getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    hidden = output.last_hidden_state
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(1)


def at_rate(wave: NDArray[np.floating], rate: int) -> NDArray[np.float32]:
    """Mono 16 kHz -> another rate."""
    return resample(np.asarray(wave, np.float64), SAMPLE_RATE, rate).astype(np.float32)
