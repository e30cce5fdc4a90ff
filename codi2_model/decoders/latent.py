"""Published latent diffusion models behind the decoders' interface.

The modules are built from the components' own configurations, so that a model can be counted without storage, and filled
from the pipeline's folder, component by component, as diffusers saves it. Text encoders are not kept: CoDi-2 speaks to the
UNet in features, and what a UNet wants to hear of an empty prompt is computed once, when the folder is read.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import nn

from codi2_model.decoders.diffusion import DiffusionDecoder
from codi2_model.options import PipelineOptions

PROMPT_TOKENS = 77  # of CLIP's text encoders


class LatentDecoder(DiffusionDecoder):
    """A pipeline's UNet and autoencoder. Subclasses name the classes and say how features enter."""

    unet_class: ClassVar[Any]
    vae_class: ClassVar[Any] = AutoencoderKL
    schedulers: ClassVar[tuple[str, ...]] = ("scheduler",)
    options: PipelineOptions

    def __init__(
        self, options: PipelineOptions, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, shape, slots, feature_dim, scale)
        if not options.components:
            raise ValueError(f"decoder {options.kind}: neither a source nor components are given")
        self.takes_reference = options.reference
        self.unet: Any = build(self.unet_class, options.components["unet"])
        self.vae: Any = build(self.vae_class, options.components["vae"])
        if options.reference:
            self.unet.conv_in = WithReference(self.unet.conv_in)
        self.build_condition()

    def build_condition(self) -> None:
        """Make what leads from features into the UNet."""

    # --- the published format

    @classmethod
    def component_classes(cls) -> dict[str, Any]:
        """Component -> the class that it is saved as."""
        return {"unet": cls.unet_class, "vae": cls.vae_class}

    @classmethod
    def describe(cls, source: str) -> dict[str, dict[str, Any]]:
        """The components' configurations, out of a pipeline's folder (or the hub)."""
        from diffusers import DDIMScheduler

        found = {name: read_config(kind, source, name) for name, kind in cls.component_classes().items()}
        return found | {name: read_config(DDIMScheduler, source, name) for name in cls.schedulers}

    def load(self, source: str) -> None:
        """Fill all published components from a pipeline's folder (or the hub), strictly."""
        for name, kind in self.component_classes().items():
            given = kind.from_pretrained(source, subfolder=name).state_dict()
            module = getattr(self, name)
            if name == "unet":
                given = self.unet_state(given)
            module.load_state_dict(given, strict=True, assign=False)
        self.load_condition(source)

    def unet_state(self, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A published UNet's weights with those that we add: the reference's stay as they are."""
        if isinstance(self.unet.conv_in, WithReference):
            for part in ("weight", "bias"):
                given[f"conv_in.base.{part}"] = given.pop(f"conv_in.{part}")
            given["conv_in.extra.weight"] = self.unet.conv_in.extra.weight
        return given

    def load_condition(self, source: str) -> None:
        """Fill what the condition needs of the folder."""

    def published(self) -> list[str]:
        """Prefixes of the weights that stand in the source and that training leaves alone."""
        if self.options.train_unet or self.options.reference:
            return ["vae."]
        return ["unet.", "vae."]

    def trained(self) -> list[nn.Module]:
        frozen = {"vae"} if self.options.train_unet else {"vae", "unet"}
        parts = [module for name, module in self.named_children() if name not in frozen]
        if self.options.reference and not self.options.train_unet:
            parts.append(self.unet.conv_in.extra)
        return parts

    # --- diffusion

    def schedule_options(self) -> dict[str, Any]:
        return {"num_train_timesteps": 1000, **self.options.components["scheduler"]}

    def latent_shape(self) -> tuple[int, ...]:
        factor = self.vae_factor()
        return (self.latent_channels(), *self.shape[1:-2], *(side // factor for side in self.shape[-2:]))

    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    def vae_factor(self) -> int:
        """Pixels a side of a latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, media: torch.Tensor) -> torch.Tensor:
        mean = self.vae.encode(media.to(self.vae.dtype)).latent_dist.mode()
        return mean.to(media) * self.vae.config.scaling_factor

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample

    def _with_source(self, noisy: torch.Tensor, source: torch.Tensor | None) -> torch.Tensor:
        return noisy if source is None else torch.cat([noisy, source], dim=1)

    def _published_scale(self, features: torch.Tensor) -> torch.Tensor:
        return features * (self.options.feature_norm / self.scale)


class WithReference(nn.Module):
    """A UNet's first convolution, and one beside it for the channels of the reference; it starts at zero."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        kind: Any = type(base)
        given: Any = base
        self.base = base
        self.extra = kind(
            given.in_channels + 1, given.out_channels, given.kernel_size, given.stride, given.padding, bias=False
        )
        nn.init.zeros_(self.extra.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        own = self.base.in_channels
        return self.base(inputs[:, :own]) + self.extra(inputs[:, own:])


class Bridge(nn.Module):
    """Features (N, slots, D) -> tokens (N, tokens, width) for cross-attention; a row of its own stands for no features."""

    def __init__(self, inputs: int, tokens: int, width: int) -> None:
        super().__init__()
        self.shape = (tokens, width)
        self.linear = nn.Linear(inputs, tokens * width)
        self.norm = nn.LayerNorm(width)
        self.nothing = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, features: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.linear(features.flatten(1)).unflatten(1, self.shape))
        return torch.where(dropped[:, None, None], self.nothing, tokens)


def build(kind: Any, config: dict[str, Any]) -> Any:
    """A module from its configuration, whether diffusers' or transformers'."""
    if hasattr(kind, "from_config") and hasattr(kind, "load_config"):
        return kind.from_config(dict(config))
    return kind(kind.config_class(**config))


def read_config(kind: Any, source: str, name: str) -> dict[str, Any]:
    """A component's configuration. Raises FileNotFoundError that names the folder and the component."""
    try:
        if hasattr(kind, "load_config"):
            found = kind.load_config(source, subfolder=name)
        else:
            found = kind.config_class.from_pretrained(source, subfolder=name).to_dict()
    except OSError as error:
        raise FileNotFoundError(f"{source}: no component '{name}' of a pipeline there") from error
    return {key: value for key, value in found.items() if not key.startswith("_") or key == "_class_name"}


@torch.no_grad()
def empty_prompt(source: str, encoder_class: Any, encoder: str, tokenizer: str, layer: int | None = None) -> Any:
    """What a pipeline's text encoder says to an empty prompt: hidden states (1, 77, width), and all it says.

    layer: hidden layer to take, counted from the end; None: the last, after its norm.
    """
    from transformers import CLIPTokenizer

    words = CLIPTokenizer.from_pretrained(source, subfolder=tokenizer)
    model = encoder_class.from_pretrained(source, subfolder=encoder).eval()
    ids = words("", padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt").input_ids
    said = model(ids, output_hidden_states=True)
    return (said.last_hidden_state if layer is None else said.hidden_states[layer]), said
