"""ImageBind (Girdhar et al. 2023, arXiv 2305.05665): one transformer per modality, all into one space.

Our own code. Parameters bear the names and shapes of the published `imagebind_huge.pth`: `load_official` takes that file.
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
    """The trunks that the options name. Inputs are prepared by `codi2_model.encoders.imagebind.inputs`."""

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
        """Prepared inputs -> (N, out_dim), of length 1, or (`scaled`) times the trunk's logit scale.

        vision (N, 3, height, width) or (N, 3, frames, height, width), text ids (N, L), audio (N, 1, mels, frames), depth and
        thermal (N, 1, height, width), imu (N, 6, samples). Vision and audio may have an axis of clips after N: the clips'
        embeddings are averaged, as published, and their mean is not normalised again. Raises ValueError for other shapes.
        """
        clips = self._clips(trunk, inputs)
        flat = inputs.flatten(0, 1) if clips else inputs
        states = self._states(trunk, flat)
        if trunk == "text":  # the end token has the highest id of all
            pooled = states[torch.arange(len(flat), device=states.device), flat.argmax(dim=-1)]
        else:
            pooled = states[:, 0]
        embeddings = self._head(trunk, pooled)
        if scaled and trunk in SCALES:
            embeddings = self.modality_postprocessors[trunk](embeddings)
        return embeddings.unflatten(0, (-1, clips)).mean(dim=1) if clips else embeddings

    def tokens(self, inputs: Tensor, grid: int) -> Tensor:
        """Pictures (N, 3, height, width) -> (N, 1 + grid * grid, out_dim), each of length 1.

        First the embedding, then the patches row by row: averaged down to grid x grid, then through the same head.
        """
        patches = self.options.vision.grid[1:]
        if not 1 <= grid <= min(patches):
            raise ValueError(f"imagebind: a grid of {grid} patches, expected 1 to {min(patches)}")
        if self._clips("vision", inputs):
            raise ValueError("imagebind: tokens are made of pictures, not of several clips")
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
        """How many clips an item has, 0 where there is no axis of clips; ValueError where the shape does not fit."""
        if trunk not in self.options.trunks:
            raise ValueError(f"imagebind: no trunk '{trunk}': there are {', '.join(self.options.trunks)}")
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
    """The tensors of a .pth file (of which no code is run) or a .safetensors file, on the CPU."""
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _foreign(key: str, trunks: tuple[str, ...]) -> bool:
    """Whether a key belongs to a known trunk that is left out."""
    part, _, rest = key.partition(".")
    trunk = rest.partition(".")[0]
    return part.startswith("modality_") and trunk in TRUNKS and trunk not in trunks


OTHER_NAMES = {"modality_heads.audio.3.weight": "modality_heads.audio.2.weight"}
"""Parameters of the copy of ImageBind in the official CoDi-2 repository, and their names in Meta's file: its audio head has an
identity more."""
TRUNKS_OF_COPY = ("vision", "text", "audio")  # all that the copy has


def is_copy(weights: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of the official repository's copy."""
    return any(other in weights and name not in weights for other, name in OTHER_NAMES.items())


def fill(model: ImageBind, weights: Mapping[str, Tensor]) -> None:
    """Put published weights into a model: strictly, but for trunks that it leaves out. Assigns: dtype and device are theirs.

    Meta's names and those of the official CoDi-2 repository's copy are taken.

    Raises ValueError that names the keys which are missing, unknown or of another shape.
    """
    wanted = model.state_dict()
    if is_copy(weights):
        weights = {OTHER_NAMES.get(key, key): value for key, value in weights.items()}
    given = {key: value for key, value in weights.items() if not _foreign(key, model.options.trunks)}
    wrong = [f"{key} is missing" for key in wanted if key not in given]
    wrong += [f"{key} is unknown" for key in given if key not in wanted]
    wrong += [
        f"{key} has shape {tuple(given[key].shape)}, expected {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 20} more)" if len(wrong) > 20 else ""
        raise ValueError(f"imagebind: weights do not fit the options: {'; '.join(wrong[:20])}{more}")
    model.load_state_dict(given, strict=True, assign=True)


def load_official(weights: str | Path | Mapping[str, Tensor], options: ImageBindOptions | None = None) -> ImageBind:
    """The published `imagebind_huge.pth` (or the same as .safetensors, or its state dict) as a model in evaluation mode.

    A state dict of the official CoDi-2 repository's copy is taken as well. Options name the trunks wanted; without them the
    model has all that were published. Raises ValueError where the keys or shapes of those differ.
    """
    found = weights if isinstance(weights, Mapping) else read_weights(weights)
    if options is None:
        options = ImageBindOptions(trunks=TRUNKS_OF_COPY if is_copy(found) else TRUNKS)
    with torch.device("meta"):
        model = ImageBind(options)
    fill(model, found)
    return model.eval()


def parameters_of(model: ImageBind, trunk: str) -> int:
    """How many parameters a trunk has, with its stem, head and learned scale."""
    parts = (model.modality_preprocessors, model.modality_trunks, model.modality_heads, model.modality_postprocessors)
    return sum(math.prod(p.shape) for part in parts if trunk in part for p in part[trunk].parameters())
