"""Base classes of the encoder families that wrap a model of transformers.

A family is built from a plain dict {"config": {...}}, also on the meta device. `describe(source)` reads that dict from a
local folder and `load(source)` loads the weights. The content of `preprocessor_config.json` goes into the key
"preprocessor" of the config, because checkpoints of one architecture differ in it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from codi2_model.encoders.family import PublishedFamily
from codi2_model.encoders.resize import byte_values, resize

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
    """The tower of one modality."""
    whole_config: ClassVar[type[PreTrainedConfig]]
    """The config of the whole model, which a checkpoint may have instead of the tower's."""
    tower: ClassVar[str]
    """The key of the tower in the config of the whole model."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        values = dict(options["config"])
        self.preprocessor: dict[str, Any] = values.pop("preprocessor", {})
        self.config: Any = self._config(values)
        self.width = getattr(self.config, "projection_dim", self.config.hidden_size)
        self.model: Any = self.model_class(self.config)
        self.train(False)

    def _config(self, values: dict[str, Any]) -> Any:
        """The config of the tower, from that of the tower or of the whole model."""
        tower: Any = self.model_class.config_class
        if values.get("model_type") == tower.model_type:
            return tower.from_dict(values)
        whole: Any = self.whole_config.from_dict(values)
        config = getattr(whole, self.tower)
        if hasattr(
            whole, "projection_dim"
        ):  # some checkpoints have another one in the tower's; CLIPModel uses this one
            config.projection_dim = whole.projection_dim
        return config

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

    tower = "vision_config"
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
