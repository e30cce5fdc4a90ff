"""ImageBind (Girdhar et al. 2023, arXiv 2305.05665): one transformer per modality, one embedding space.

An own implementation. Parameters have the names and shapes of the published `imagebind_huge.pth`, which `load_official`
reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codi2_model.encoders.imagebind.options import TRUNKS, ImageBindOptions
from codi2_model.encoders.imagebind.stems import TextTokens, make_stem
from codi2_model.encoders.imagebind.transformer import SCALES, Trunk, make_head, make_scale


class ImageBind(nn.Module):
    """ImageBind with the trunks of the options. `codi2_model.encoders.imagebind.inputs` prepares inputs."""

    def __init__(self, options: ImageBindOptions) -> None:
        super().__init__()
        self.options = options
        sizes = {name: options.trunk(name) for name in options.trunks}
        self.modality_preprocessors = nn.ModuleDict({name: make_stem(name, size) for name, size in sizes.items()})
        self.modality_trunks = nn.ModuleDict({name: Trunk(name, size) for name, size in sizes.items()})
        self.modality_heads = nn.ModuleDict(
            {name: make_head(name, size.width, options.out_dim) for name, size in sizes.items()}
        )
        self.modality_postprocessors = nn.ModuleDict({name: make_scale(name) for name in sizes if name in SCALES})

    def embed(self, trunk: str, inputs: Tensor, scaled: bool = False) -> Tensor:
        """Prepared inputs -> (N, out_dim) of length 1; scaled: multiplied with the logit scale of the trunk.

        Inputs: vision (N, 3, height, width) or (N, 3, frames, height, width), text ids (N, L), audio (N, 1, mels, frames), depth and
        thermal (N, 1, height, width), imu (N, 6, samples). Vision and audio may have an axis of clips after N, over
        which embeddings are averaged without another normalisation, as published. Raises ValueError for other shapes.
        """
        clips = self._clips(trunk, inputs)
        flat = inputs.flatten(0, 1) if clips else inputs
        states = self._states(trunk, flat)
        if trunk == "text":  # position of the end token, which has the highest id
            pooled = states[torch.arange(len(flat), device=states.device), flat.argmax(dim=-1)]
        else:
            pooled = states[:, 0]
        embeddings = self._head(trunk, pooled)
        if scaled and trunk in SCALES:
            embeddings = self.modality_postprocessors[trunk](embeddings)
        return embeddings.unflatten(0, (-1, clips)).mean(dim=1) if clips else embeddings

    def tokens(self, inputs: Tensor, grid: int) -> Tensor:
        """Images (N, 3, height, width) -> (N, 1 + grid * grid, out_dim), each of length 1.

        The first vector is the embedding. The others are patches in row order, averaged to grid x grid, then projected by the
        same head. Raises ValueError for another grid or shape.
        """
        patches = self.options.vision.grid[1:]
        if not 1 <= grid <= min(patches):
            raise ValueError(f"imagebind: a grid of side {grid}, expected 1 to {min(patches)} patches")
        if self._clips("vision", inputs):
            raise ValueError("imagebind: patch features need single images, not several clips")
        states = self._states("vision", inputs)
        field = states[:, 1:].transpose(1, 2).unflatten(2, patches)  # (N, width, rows, columns)
        field = F.adaptive_avg_pool2d(field, grid).flatten(2).transpose(1, 2)
        return self._head("vision", torch.cat([states[:, :1], field], dim=1))

    def _states(self, trunk: str, inputs: Tensor) -> Tensor:
        stem = self.modality_preprocessors[trunk]
        mask = stem.mask[: inputs.shape[1], : inputs.shape[1]] if isinstance(stem, TextTokens) else None
        return self.modality_trunks[trunk](stem(inputs), mask)

    def _head(self, trunk: str, states: Tensor) -> Tensor:
        embeddings = self.modality_heads[trunk](states)
        return F.normalize(embeddings.float(), dim=-1).to(embeddings.dtype)

    def _clips(self, trunk: str, inputs: Tensor) -> int:
        """Number of clips per item, 0 without an axis of clips. Raises ValueError for another shape."""
        if trunk not in self.options.trunks:
            raise ValueError(f"imagebind: no trunk '{trunk}', expected one of {', '.join(self.options.trunks)}")
        sizes = self.options.trunk(trunk)
        shape = tuple(inputs.shape)
        if trunk == "text":
            if len(shape) != 2 or not 1 <= shape[1] <= sizes.shape[0]:
                raise ValueError(f"imagebind: text has shape {shape}, expected ids (N, 1 to {sizes.shape[0]})")
            return 0
        whole = (sizes.channels, *sizes.shape)
        items = [whole]
        if trunk == "vision":
            items += [(whole[0], *whole[2:]), (whole[0], 1, *whole[2:])]
        if shape[1:] in items:
            return 0
        if trunk in ("vision", "audio") and len(shape) == len(whole) + 2 and shape[1] and shape[2:] in items:
            return shape[1]
        raise ValueError(f"imagebind: {trunk} has shape {shape}, expected (N, {', '.join(map(str, whole))})")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .pth file (weights only, no code is executed) or a .safetensors file to the CPU."""
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _foreign(key: str, trunks: tuple[str, ...]) -> bool:
    """Whether a key belongs to a trunk that the model does not have."""
    part, _, rest = key.partition(".")
    trunk = rest.partition(".")[0]
    return part.startswith("modality_") and trunk in TRUNKS and trunk not in trunks


OTHER_NAMES = {"modality_heads.audio.3.weight": "modality_heads.audio.2.weight"}
"""Parameter names of the ImageBind copy in the official CoDi-2 repository -> names in Meta's file.

The audio head of the copy has one more identity layer."""
TRUNKS_OF_COPY = ("vision", "text", "audio")  # trunks of the copy


def is_copy(weights: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is from the ImageBind copy in the official CoDi-2 repository."""
    return any(other in weights and name not in weights for other, name in OTHER_NAMES.items())


def fill(model: ImageBind, weights: Mapping[str, Tensor]) -> None:
    """Load published weights strictly, except for trunks that the model lacks. The model takes their dtype and device.

    Accepts Meta's names and those of the copy in the official CoDi-2 repository. Raises ValueError with the keys that are
    missing, unknown or of another shape.
    """
    expected = model.state_dict()
    if is_copy(weights):
        weights = {OTHER_NAMES.get(key, key): value for key, value in weights.items()}
    own = {key: value for key, value in weights.items() if not _foreign(key, model.options.trunks)}
    wrong = [f"{key} is missing" for key in expected if key not in own]
    wrong += [f"{key} is unknown" for key in own if key not in expected]
    wrong += [
        f"{key} has shape {tuple(own[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in own and own[key].shape != value.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 20} more)" if len(wrong) > 20 else ""
        raise ValueError(f"imagebind: weights do not fit the options: {'; '.join(wrong[:20])}{more}")
    model.load_state_dict(own, strict=True, assign=True)


def load_official(weights: str | Path | Mapping[str, Tensor], options: ImageBindOptions | None = None) -> ImageBind:
    """Load `imagebind_huge.pth` (or the same as .safetensors, or its state dict) as a model in evaluation mode.

    Also accepts a state dict of the copy in the official CoDi-2 repository. Without options the model has all published
    trunks. Raises ValueError if keys or shapes differ.
    """
    state = weights if isinstance(weights, Mapping) else read_weights(weights)
    if options is None:
        options = ImageBindOptions(trunks=TRUNKS_OF_COPY if is_copy(state) else TRUNKS)
    with torch.device("meta"):
        model = ImageBind(options)
    fill(model, state)
    return model.eval()


def parameters_of(model: ImageBind, trunk: str) -> int:
    """Number of parameters of a trunk, with its stem, head and learned scale."""
    parts = (model.modality_preprocessors, model.modality_trunks, model.modality_heads, model.modality_postprocessors)
    return sum(math.prod(p.shape) for part in parts if trunk in part for p in part[trunk].parameters())
