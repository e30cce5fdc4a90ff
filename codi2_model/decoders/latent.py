"""Base of decoders that wrap a published latent diffusion pipeline of diffusers.

Modules are built from the configs of the components, also on the meta device, and loaded component by component from a
pipeline folder as diffusers saves it. Text encoders are not part of the decoder: the UNet is conditioned on features, and
the embedding of the empty prompt is computed once, when the folder is read.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import nn

from codi2_model.decoders.diffusion import DiffusionDecoder
from codi2_model.options import PipelineOptions

PROMPT_TOKENS = 77  # sequence length of CLIP's text encoders


class LatentDecoder(DiffusionDecoder):
    """UNet and autoencoder of a pipeline. Subclasses define their classes and the condition from features."""

    unet_class: ClassVar[Any]
    vae_class: ClassVar[Any] = AutoencoderKL
    schedulers: ClassVar[tuple[str, ...]] = ("scheduler",)
    options: PipelineOptions

    def __init__(
        self, options: PipelineOptions, shape: tuple[int, ...], slots: int, feature_dim: int, scale: float
    ) -> None:
        super().__init__(options, shape, slots, feature_dim, scale)
        if not options.components:
            raise ValueError(f"decoder {options.kind}: set `source` or `components`")
        self.takes_reference = options.reference
        self.unet: Any = build(self.unet_class, options.components["unet"])
        self.vae: Any = build(self.vae_class, options.components["vae"])
        if options.reference:
            self.unet.conv_in = WithReference(self.unet.conv_in)
        self.build_condition()

    def build_condition(self) -> None:
        """Create the modules that map features to inputs of the UNet."""

    # --- the published format

    @classmethod
    def component_classes(cls) -> dict[str, Any]:
        """Component -> its class."""
        return {"unet": cls.unet_class, "vae": cls.vae_class}

    @classmethod
    def describe(cls, source: str) -> dict[str, dict[str, Any]]:
        """Configs of the components, from a pipeline folder or the hub."""
        from diffusers import DDIMScheduler

        configs = {name: read_config(kind, source, name) for name, kind in cls.component_classes().items()}
        return configs | {name: read_config(DDIMScheduler, source, name) for name in cls.schedulers}

    def load(self, source: str) -> None:
        """Load all published components strictly, from a pipeline folder or the hub."""
        for name, kind in self.component_classes().items():
            state = kind.from_pretrained(source, subfolder=name).state_dict()
            module = getattr(self, name)
            if name == "unet":
                state = self.unet_state(state)
            module.load_state_dict(state, strict=True, assign=False)
        self.load_condition(source)

    def unet_state(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """State dict of a published UNet, with the current weights of added parts (the reference channels)."""
        if isinstance(self.unet.conv_in, WithReference):
            for part in ("weight", "bias"):
                state[f"conv_in.base.{part}"] = state.pop(f"conv_in.{part}")
            state["conv_in.extra.weight"] = self.unet.conv_in.extra.weight
        return state

    def load_condition(self, source: str) -> None:
        """Load what the condition needs from the pipeline folder."""

    def published(self) -> list[str]:
        """Prefixes of weights that are in the source and not trained."""
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
        """Channels of the autoencoder's latents."""
        return int(self.vae.config.latent_channels)

    def vae_factor(self) -> int:
        """Downsampling factor of the autoencoder per side."""
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
    """The first convolution of a UNet plus one for the reference channels, which is initialised with zeros."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        kind: Any = type(base)
        template: Any = base
        self.base = base
        self.extra = kind(
            template.in_channels + 1,
            template.out_channels,
            template.kernel_size,
            template.stride,
            template.padding,
            bias=False,
        )
        nn.init.zeros_(self.extra.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        own = self.base.in_channels
        return self.base(inputs[:, :own]) + self.extra(inputs[:, own:])


class Bridge(nn.Module):
    """Features (N, slots, D) -> tokens (N, tokens, width) for cross-attention, with learned tokens for dropped features."""

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
    """Build a module of diffusers or transformers from its config."""
    if hasattr(kind, "from_config") and hasattr(kind, "load_config"):
        return kind.from_config(dict(config))
    return kind(kind.config_class(**config))


def read_config(kind: Any, source: str, name: str) -> dict[str, Any]:
    """Read the config of a component. Raises FileNotFoundError if the folder has no such component."""
    try:
        if hasattr(kind, "load_config"):
            config = kind.load_config(source, subfolder=name)
        else:
            config = kind.config_class.from_pretrained(source, subfolder=name).to_dict()
    except OSError as error:
        raise FileNotFoundError(f"{source}: the pipeline has no component '{name}'") from error
    return {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}


@torch.no_grad()
def empty_prompt(source: str, encoder_class: Any, encoder: str, tokenizer: str, layer: int | None = None) -> Any:
    """Output of a pipeline's text encoder for the empty prompt: (hidden states (1, 77, width), whole output).

    layer: index of the hidden states, negative from the end; None: the last ones, after the final norm.
    """
    from transformers import CLIPTokenizer

    clip_tokenizer = CLIPTokenizer.from_pretrained(source, subfolder=tokenizer)
    model = encoder_class.from_pretrained(source, subfolder=encoder).eval()
    ids = clip_tokenizer("", padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt").input_ids
    output = model(ids, output_hidden_states=True)
    return (output.last_hidden_state if layer is None else output.hidden_states[layer]), output
