"""Loading and saving of model weights: random, from published sources, or from a saved checkpoint.

`Sources` is a mixin of the model.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from codi2_model.config import CoDi2Config
from codi2_model.decoders.latent import LatentDecoder
from codi2_model.encoders.text_states import describe as text_states_shape
from codi2_model.modules.llm import load_llm, published_prefix
from codi2_model.options import DECODERS, ENCODERS, PipelineOptions, TransformerOptions
from codi2_storage.locations.files import as_new

if TYPE_CHECKING:
    from codi2_model.modeling import CoDi2ForConditionalGeneration


def with_source_shapes(config: CoDi2Config) -> CoDi2Config:
    """The config with the shapes of published parts, read from their sources."""
    values = config.to_dict()
    for name, family in config.families.items():
        if family.source is not None:
            source_config = ENCODERS.part(name).describe(family.source)["config"]
            # the config overrides the source: the published file of ImageBind has no shape
            values["families"][name]["config"] = {**source_config, **family.config}
    states = config.text_states
    if states is not None and states.package is not None:
        values["text_states"]["config"] = {**text_states_shape(states.package), **states.config}
    for modality in config.modalities:
        options = config.decoder(modality)
        if isinstance(options, PipelineOptions) and options.source is not None:
            components = DECODERS.part(options.kind).describe(options.source)
            values[f"{modality}_decoder"] = dataclasses.asdict(options) | {"components": components}
    return CoDi2Config.from_dict(values)


class Sources:
    """Mixin with `build`, `from_pretrained` and `save_pretrained`."""

    config: Any

    @classmethod
    def build(cls, config: CoDi2Config, seed: int = 0) -> CoDi2ForConditionalGeneration:
        """Create a model. Equal seeds give equal weights; the global random state does not change.

        Published parts are loaded strictly from their sources.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = with_source_shapes(config)
            # the language model is used as loaded, so memory stays near the size of the weights
            model: Any = cls(config, load_llm(config) if config.llm_source else None)  # type: ignore[call-arg]
            model.load_sources()
        return model.eval()

    def load_sources(self, llm: bool = False) -> None:
        """Load published encoders and decoders, and with `llm` the frozen language model, from their sources."""
        model: Any = self
        for name, family in model.config.families.items():
            if family.source is not None and name in model.encoders.families:
                model.encoders.families[name].load(family.source)
        states = model.config.text_states
        if states is not None and states.package is not None:
            model.text_states.load(states.package)
        for modality in model.config.modalities:
            options = model.config.decoder(modality)
            if isinstance(options, PipelineOptions) and options.source is not None:
                model.decoders[modality].load(options.source)
            if isinstance(options, TransformerOptions) and options.upscale is not None:
                model.decoders[modality].load(options.upscale)
        if llm:
            own = model.llm.state_dict()
            for key, value in load_llm(model.config).state_dict().items():
                target = key if key in own else f"{key.removesuffix('.weight')}.base_layer.weight"
                if published_prefix(f"llm.{target}", model.config):
                    own[target].copy_(value)

    def published_weights(self) -> set[str]:
        """Names of weights that are in published sources and not trained."""
        model: Any = self
        prefixes = [f"encoders.families.{name}." for name, family in model.config.families.items() if family.source]
        for modality, decoder in model.decoders.items():
            if isinstance(decoder, LatentDecoder) and decoder.options.source is not None:
                prefixes += [f"decoders.{modality}.{prefix}" for prefix in decoder.published()]
        return {
            name
            for name in model.state_dict()
            if name.startswith(tuple(prefixes)) or published_prefix(name, model.config)
        }

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        """As in transformers; with `config.self_contained` False, without the published weights."""
        model: Any = self
        if not model.config.self_contained and "state_dict" not in options:
            published = model.published_weights()
            options["state_dict"] = {k: v for k, v in model.state_dict().items() if k not in published}
        super().save_pretrained(folder, **options)  # type: ignore[misc]
        for file in Path(folder).glob("*.safetensors"):
            as_new(file)  # default permissions: safetensors restricts them to the owner

    @classmethod
    def from_pretrained(cls, folder: Any, *args: Any, **options: Any) -> Any:
        """As in transformers, but strict, and in float32 unless `dtype` is given.

        Raises FileNotFoundError if config.json is missing, ValueError for missing, unexpected or misshapen weights.
        """
        options.setdefault("dtype", torch.float32)
        if not os.path.isfile(os.path.join(folder, "config.json")):
            raise FileNotFoundError(f"{folder}: not a model folder, config.json is missing")
        return_info = options.pop("output_loading_info", False)
        result: Any = super().from_pretrained(folder, *args, output_loading_info=True, **options)  # type: ignore[misc]
        model, info = result
        if not model.config.self_contained:
            info["missing_keys"] = set(info["missing_keys"]) - model.published_weights()
        faults = {
            k: sorted(map(str, info[k])) for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[k]
        }
        if faults:
            raise ValueError(f"{folder}: weights do not fit the model: {faults}")
        if not model.config.self_contained:
            model.load_sources(llm=model.config.llm_source is not None and model.config.lora is not None)
        return (model, info) if return_info else model
