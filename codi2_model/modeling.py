"""`CoDi2ForConditionalGeneration`: encoders, projections, a Llama, feature regression and decoders in one transformers model.

- slots' embeddings are replaced by in-projected features, of given media and of the model's own alike: `embed_features`
  is the only way in, in training and in inference;
- the prediction for the slot at t is read from the hidden state at t - 1, through the out-projection;
- losses come unweighted and apart; `loss` is their sum by `config.loss_weights`;
- a batch mixes any modalities; where slots and features do not match, the error names the sample.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)
from transformers.utils import ModelOutput

from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.decoders import DiffusionDecoder, Reference, build_decoder
from codi2_model.encoders import BindEncoders, to_sphere
from codi2_model.losses import NO_LOSS, cosine_loss, mse_loss, token_loss
from codi2_model.slots import MediaInputs, check_slots, gather, positions, references, slots_of
from codi2_model.tokens import gguf_file


@dataclass
class CoDi2Output(ModelOutput):
    """What forward returns. A loss that the batch has no targets for is left out of `losses`."""

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    """tokens, feature_cosine, feature_mse, diffusion: scalars, unweighted."""
    logits: torch.Tensor | None = None
    """(B, T, V); only without labels, or with return_logits."""
    predicted: dict[str, torch.Tensor] | None = None
    """modality -> what the model predicts for each of the batch's media, (N, slots, D)."""
    true: dict[str, torch.Tensor] | None = None
    """modality -> the media's own features, (N, slots, D)."""
    hidden: torch.Tensor | None = None
    """Last hidden state (B, T, H)."""
    past_key_values: Cache | None = None


class Aligner(nn.Module):
    """Predicted features -> features a decoder knows: a residual MLP that starts as the identity (on the sphere).

    The diffusion loss reaches the LLM through it alone; straight into the LLM it is known to fail (Kosmos-G).
    """

    def __init__(self, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        last = nn.Linear(2 * feature_dim, feature_dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(feature_dim, 2 * feature_dim), nn.GELU(), last)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = to_sphere(features, self.scale)
        return to_sphere(features + self.mlp(features), self.scale)


def projection(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Linear, GELU, LayerNorm, Linear: both projections of CoDi-2 have this shape."""
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, outputs))


def llm_config(config: CoDi2Config) -> LlamaConfig:
    """The language model's own configuration."""
    given = {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "pad_token_id": config.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": config.eos_token_id,
    }
    return LlamaConfig(**(given | config.llm))


class CoDi2ForConditionalGeneration(PreTrainedModel):
    """CoDi-2. `build(config)` makes a new model (with the LLM's pretrained weights, where the config names a source),
    `from_pretrained(folder)` reads a saved one, strictly."""

    config_class = CoDi2Config
    base_model_prefix = "codi2"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["LlamaDecoderLayer"]  # noqa: RUF012

    config: CoDi2Config

    def __init__(self, config: CoDi2Config) -> None:
        super().__init__(config)
        self.encoders = BindEncoders(config)
        self.in_projection = projection(config.feature_dim, config.hidden_size, config.hidden_size)
        self.llm = LlamaForCausalLM(llm_config(config))
        self.out_projection = projection(config.hidden_size, config.feature_dim, config.feature_dim)
        self.aligners = nn.ModuleDict({m: Aligner(config.feature_dim, config.scale) for m in MODALITIES})
        self.decoders = nn.ModuleDict({m: build_decoder(config, m) for m in MODALITIES})
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: our parts start as torch and diffusers start them; the Llama has its own."""

    @classmethod
    def build(cls, config: CoDi2Config, seed: int = 0) -> CoDi2ForConditionalGeneration:
        """A new model; the same seed gives the same weights, and the caller's random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config)
            if config.llm_source is not None:
                model._load_llm(config.llm_source)
        return model.eval()

    def _load_llm(self, package: str) -> None:
        """Fill the LLM with a package's GGUF weights; the rows of added tokens get the mean embedding and a little noise."""
        path = gguf_file(package)
        source = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
        weights = {name: value for name, value in source.state_dict().items() if name != "lm_head.weight"}
        name = "model.embed_tokens.weight"
        given = weights[name]
        rows = self.llm.state_dict()[name].clone()
        if given.shape[0] > rows.shape[0] or given.shape[1] != rows.shape[1]:
            raise ValueError(
                f"{path.name}: embedding {tuple(given.shape)} does not fit the config's {tuple(rows.shape)}"
            )
        rows[: len(given)] = given
        rows[len(given) :] = given.mean(dim=0) + 0.02 * given.std() * torch.randn_like(rows[len(given) :])
        weights[name] = rows
        if not self.llm.config.tie_word_embeddings:
            raise ValueError("config: llm.tie_word_embeddings must be true for a language model from a package")
        missing, unexpected = self.llm.load_state_dict(weights, strict=False)
        if unexpected or [key for key in missing if key != "lm_head.weight"]:
            raise ValueError(f"{path.name} does not fit config.llm: missing {missing}, unexpected {unexpected}")

    @classmethod
    def from_pretrained(cls, folder: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """As in transformers, but strict: FileNotFoundError where the folder or its config is missing, ValueError where weights
        are missing, left over or of another shape."""
        if not os.path.isfile(os.path.join(folder, "config.json")):
            raise FileNotFoundError(f"no model in {folder}: config.json is missing")
        wants_info = options.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(folder, *args, output_loading_info=True, **options)
        model, info = loaded
        faults = {
            k: sorted(map(str, info[k])) for k in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[k]
        }
        if faults:
            raise ValueError(f"weights in {folder} do not fit the model: {faults}")
        return (model, info) if wants_info else model

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.llm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.llm.get_output_embeddings()

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """Features (..., D), of an encoder or predicted, any length -> input embeddings (..., H) of slots."""
        return self.in_projection(to_sphere(features, self.config.scale))

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., H) one before the slots -> predicted features (..., D), as the feature losses compare them."""
        return self.out_projection(hidden)

    def decoder(self, modality: str) -> DiffusionDecoder:
        module = self.decoders[modality]
        assert isinstance(module, DiffusionDecoder)
        return module

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        images: torch.Tensor | None = None,
        image_sample: torch.Tensor | None = None,
        image_position: torch.Tensor | None = None,
        image_target: torch.Tensor | None = None,
        image_reference: torch.Tensor | None = None,
        audios: torch.Tensor | None = None,
        audio_sample: torch.Tensor | None = None,
        audio_position: torch.Tensor | None = None,
        audio_target: torch.Tensor | None = None,
        audio_reference: torch.Tensor | None = None,
        sample_ids: list[str] | None = None,
        features: dict[str, torch.Tensor] | None = None,
        use_cache: bool = False,
        return_logits: bool = False,
        generator: torch.Generator | None = None,
        **unused: Any,
    ) -> CoDi2Output:
        """A `CoDi2Batch` as keyword arguments; losses come where there are labels.

        features: modality -> (N, slots, D) to stand in the slots instead of the encoders' own.
        generator: of the diffusion loss's noise. Raises ValueError where slots and features do not match.
        """
        groups = [
            MediaInputs("image", images, image_sample, image_position, image_target, image_reference)  # type: ignore[arg-type]
            if images is not None
            else None,
            MediaInputs("audio", audios, audio_sample, audio_position, audio_target, audio_reference)  # type: ignore[arg-type]
            if audios is not None
            else None,
        ]
        media = [group for group in groups if group is not None and len(group.media)]
        check_slots(self.config, input_ids, media, sample_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        true = {g.modality: self.encoders.features(g.modality, g.media) for g in media}
        given = features or {}
        embeddings = self._embed(input_ids, media, {m: given.get(m, true[m]) for m in true})
        states = self.llm.model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=positions(attention_mask),
            use_cache=use_cache,
        )
        hidden = states.last_hidden_state
        predicted = {g.modality: self.predict(gather(hidden, g, self.config.feature_tokens, shift=-1)) for g in media}
        output = CoDi2Output(predicted=predicted, true=true, hidden=hidden, past_key_values=states.past_key_values)
        if labels is None or return_logits:
            output.logits = self.llm.lm_head(hidden)
        if labels is not None:
            output.losses = self._losses(hidden, labels, media, predicted, true, generator)
            output.loss = self._total(output.losses, hidden)
        return output

    def _embed(
        self, input_ids: torch.Tensor, media: list[MediaInputs], features: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        embeddings = self.get_input_embeddings()(input_ids)
        for group in media:
            rows, columns = slots_of(group, self.config.feature_tokens)
            slots = self.embed_features(features[group.modality]).to(embeddings.dtype)
            embeddings = embeddings.index_put((rows, columns), slots)
        return embeddings

    def _losses(
        self,
        hidden: torch.Tensor,
        labels: torch.Tensor,
        media: list[MediaInputs],
        predicted: dict[str, torch.Tensor],
        true: dict[str, torch.Tensor],
        generator: torch.Generator | None,
    ) -> dict[str, torch.Tensor]:
        weights = self.config.loss_weights
        losses: dict[str, torch.Tensor] = {}
        marked = labels[:, 1:] != NO_LOSS
        if bool(marked.any()):
            logits = self.llm.lm_head(hidden[:, :-1][marked])  # the vocabulary is wide: only where a label stands
            losses["tokens"] = token_loss(logits, labels[:, 1:][marked])
        targets = [group for group in media if bool(group.target.any())]
        if not targets:
            return losses
        guesses = torch.cat([predicted[g.modality][g.target] for g in targets])
        rights = torch.cat([true[g.modality][g.target] for g in targets]).detach()
        losses["feature_cosine"] = cosine_loss(guesses, rights)
        losses["feature_mse"] = mse_loss(guesses, rights)
        if weights.diffusion > 0:
            # each medium counts the same, whatever its modality
            parts = [self._diffusion(g, predicted[g.modality], generator) * int(g.target.sum()) for g in targets]
            losses["diffusion"] = torch.stack(parts).sum() / len(guesses)
        return losses

    def _diffusion(self, group: MediaInputs, features: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Diffusion loss of a modality's targets, given features that the LLM predicted."""
        chosen = features[group.target]
        if not self.config.diffusion_into_llm:
            chosen = chosen.detach()
        aligned = self.aligners[group.modality](chosen)
        return self.decoder(group.modality).loss(
            aligned, group.media[group.target], reference=references(group), generator=generator
        )

    def _total(self, losses: dict[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
        total = hidden.sum() * 0.0  # a batch without any target still has a gradient: zero
        for name, value in losses.items():
            total = total + getattr(self.config.loss_weights, name) * value
        return total

    @torch.no_grad()
    def decode(
        self,
        modality: str,
        features: torch.Tensor,
        reference: Reference | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Any = None,
    ) -> torch.Tensor:
        """Predicted features (N, slots, D) -> media (N, C, height, width) in [0, 1]."""
        aligned = self.aligners[modality](features)
        return self.decoder(modality).sample(aligned, reference, steps, guidance, generator)

    def generate(self, processor: Any, conversations: Any, **options: Any) -> Any:  # type: ignore[override]
        """Replies to conversations; see `codi2_model.generation.generate`."""
        from codi2_model.generation import generate

        return generate(self, processor, conversations, **options)


AutoConfig.register("codi2", CoDi2Config)
AutoModel.register(CoDi2Config, CoDi2ForConditionalGeneration)
