"""`CoDi2ForConditionalGeneration`: encoders, projections, a Llama, a feature head and decoders in one transformers model.

- slots' embeddings are replaced by in-projected features, of given media and of the model's own alike: `embed_features`
  is the only way in, in training and in inference;
- the prediction for the slot at t is read from the hidden state at t - 1, by the head; with `parallel_slots` all slots of a
  medium are read at once, from the query tokens before them;
- losses come unweighted and apart; `loss` is their sum by `config.loss_weights`;
- a batch mixes any modalities; where slots and features do not match, the error names the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, Cache, LlamaForCausalLM, PreTrainedModel
from transformers.utils import ModelOutput

from codi2_model.checkpoints.loading import Sources
from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.decoders import DiffusionDecoder, Reference, build_decoder
from codi2_model.encoders import Encoders, scale_norm
from codi2_model.encoders.text_states import TextStates
from codi2_model.modules.connectors import build_connector
from codi2_model.modules.heads import build_head, projection
from codi2_model.modules.llm import add_lora, llm_config, trained_parts
from codi2_model.modules.losses import NO_LOSS, token_loss
from codi2_model.modules.noise import Generators, row_generators
from codi2_model.modules.slots import MediaInputs, check_slots, gather, positions, references, slots_of


@dataclass
class CoDi2Output(ModelOutput):
    """What forward returns. A loss that the batch has no targets for is left out of `losses`."""

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    """tokens, feature_cosine and feature_mse (or feature_flow), diffusion: scalars, unweighted."""
    logits: torch.Tensor | None = None
    """(B, T, V); only without labels, or with return_logits."""
    predicted: dict[str, torch.Tensor] | None = None
    """modality -> what the model predicts for each of the batch's media, (N, slots, D)."""
    true: dict[str, torch.Tensor] | None = None
    """modality -> the media's own features, (N, slots, D)."""
    hidden: torch.Tensor | None = None
    """Last hidden state (B, T, H)."""
    past_key_values: Cache | None = None


class CoDi2ForConditionalGeneration(Sources, PreTrainedModel):  # type: ignore[misc]
    """CoDi-2. `build(config)` makes a new model (with published weights where the config names their sources),
    `from_pretrained(folder)` reads a saved one, strictly."""

    config_class = CoDi2Config
    base_model_prefix = "codi2"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["LlamaDecoderLayer"]  # noqa: RUF012

    config: CoDi2Config

    def __init__(self, config: CoDi2Config, llm: LlamaForCausalLM | None = None) -> None:
        """llm: a language model that fits the config, to be taken as it is; None makes one."""
        super().__init__(config)
        self.encoders = Encoders(config)
        self.in_projection = projection(config.feature_dim, config.hidden_size, config.hidden_size)
        self.head = build_head(config)
        self.aligners = nn.ModuleDict({m: build_connector(config) for m in config.modalities})
        self.decoders = nn.ModuleDict({m: build_decoder(config, m) for m in config.modalities})
        self.text_states = None if config.text_states is None else TextStates(config.text_states)
        if self.text_states is not None:
            self.text_projection = nn.Linear(self.text_states.width, config.hidden_size)
        if llm is None:
            self.llm = LlamaForCausalLM(llm_config(config))
        self.post_init()
        if llm is not None:
            self.llm = llm
        if config.lora is not None:
            add_lora(self.llm, config.lora)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: our parts start as torch and diffusers start them; the Llama has its own."""

    def trained_llm(self) -> list[nn.Module]:
        """What the third stage trains of the language model."""
        return trained_parts(self.llm, self.config)

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.llm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.llm.get_output_embeddings()

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """Features (..., D), of an encoder or predicted, any length -> input embeddings (..., H) of slots."""
        return self.in_projection(scale_norm(features, self.config.scale))

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Captions' ids and mask (N, L), as `CoDi2Processor.encode_captions` gives them -> (N, D) in the encoders' space."""
        if self.text_states is None:
            return self.encoders.encode_text(ids, mask)
        return self.encoders.encode_states(self.text_states.pooled(ids, mask))

    def predict(self, hidden: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Hidden states (..., H) one before the slots -> predicted features (..., D), as the feature losses compare them."""
        return self.head(hidden, generator)

    def decoder(self, modality: str) -> DiffusionDecoder:
        module = self.decoders[modality]
        assert isinstance(module, DiffusionDecoder)
        return module

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        sample_ids: list[str] | None = None,
        features: dict[str, torch.Tensor] | None = None,
        encoded: Mapping[str, torch.Tensor] | None = None,
        use_cache: bool = False,
        return_logits: bool = False,
        generator: torch.Generator | None = None,
        seeds: Mapping[str, Sequence[int]] | None = None,
        counts: Mapping[str, float] | None = None,
        **fields: Any,
    ) -> CoDi2Output:
        """A `CoDi2Batch` as keyword arguments; losses come where there are labels.

        position_ids: of packed rows, counting from 0 for each sample; samples of a row do not see each other.
        features: modality -> (N, slots, D) to stand in the slots instead of the encoders' own.
        encoded: modality -> the encoders' features (N, slots, D), where they are known already.
        generator: of the losses' noise. seeds: modality -> a seed for each of its targets, so that their noise does not
        depend on the batch.
        counts: loss -> what its sum is divided by, the targets of a whole optimiser step where the batch is a part of it;
        the diffusion loss is left out where it is not named. None: the batch's own (`loss_counts`).
        Raises ValueError where slots and features do not match.
        """
        media = media_of(fields)
        check_slots(self.config, input_ids, media, sample_ids)
        known = encoded or {}
        true = {
            g.modality: known[g.modality] if g.modality in known else self.encoders.features(g.modality, g.media)
            for g in media
        }
        given = features or {}
        embeddings = self.embed(input_ids, media, {m: given.get(m, true[m]) for m in true}, fields)
        if position_ids is None:
            attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            position_ids = positions(attention_mask)
        else:
            attention_mask = None  # transformers tells packed samples apart by their positions
        states = self.llm.model(
            inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=position_ids, use_cache=use_cache
        )
        hidden = states.last_hidden_state
        shift = -self.config.feature_tokens if self.config.parallel_slots else -1
        before = {g.modality: gather(hidden, g, self.config.feature_tokens, shift) for g in media}
        output = CoDi2Output(true=true, hidden=hidden, past_key_values=states.past_key_values)
        if not self.training or self.config.head.kind == "regression":  # a flow takes many steps to predict
            output.predicted = {modality: self.predict(states) for modality, states in before.items()}
        if labels is None or return_logits:
            output.logits = self.llm.lm_head(hidden)
        if labels is not None:
            counts = self.loss_counts(*count_targets(labels, media)) if counts is None else counts
            output.losses = self._losses(hidden, labels, media, before, true, counts, seeds or {}, generator)
            output.loss = self._total(output.losses, hidden)
        return output

    def embed(
        self,
        input_ids: torch.Tensor,
        media: list[MediaInputs],
        features: dict[str, torch.Tensor],
        fields: Mapping[str, Any],
    ) -> torch.Tensor:
        """What the language model reads (B, T, H): tokens, what the text encoder makes of them, features in the slots."""
        embeddings = self.get_input_embeddings()(input_ids)
        if self.text_states is not None and len(fields.get("text_ids", ())):
            states = self.text_states(fields["text_ids"], fields["text_mask"]).flatten(0, 1)
            read = self.text_projection(torch.cat([states.new_zeros(1, states.shape[1]), states]))
            known = (fields["text_index"] > 0)[..., None]
            embeddings = embeddings + (read[fields["text_index"]] * known).to(embeddings.dtype)
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
        before: dict[str, torch.Tensor],
        true: dict[str, torch.Tensor],
        counts: Mapping[str, float],
        seeds: Mapping[str, Sequence[int]],
        generator: torch.Generator | None,
    ) -> dict[str, torch.Tensor]:
        losses: dict[str, torch.Tensor] = {}
        marked = labels[:, 1:] != NO_LOSS
        if bool(marked.any()):
            logits = self.llm.lm_head(hidden[:, :-1][marked])  # the vocabulary is wide: only where a label stands
            losses["tokens"] = token_loss(logits, labels[:, 1:][marked], counts["tokens"])
        targets = [group for group in media if bool(group.target.any())]
        if not targets:
            return losses
        for group in targets:
            rows = seeds.get(group.modality)
            noise = generator if rows is None else row_generators(rows)
            states = before[group.modality][group.target]
            right = true[group.modality][group.target].detach()
            scored = self.head.score(states, right, noise, counts[self.head.losses[0]])
            found = dict(scored.losses)
            if "diffusion" in counts:
                found["diffusion"] = self._diffusion(group, scored.estimate, states, noise, counts["diffusion"])
            for name, value in found.items():  # each medium counts the same, whatever its modality
                losses[name] = losses[name] + value if name in losses else value
        return losses

    def loss_counts(self, tokens: int, media: int) -> dict[str, float]:
        """What each loss is divided by: the tokens with a label, or the target media."""
        names = [*self.head.losses, *(["diffusion"] if self.config.loss_weights.diffusion > 0 else [])]
        return {"tokens": float(tokens)} | dict.fromkeys(names, float(media))

    def _diffusion(
        self, group: MediaInputs, features: torch.Tensor, states: torch.Tensor, generator: Generators, count: float
    ) -> torch.Tensor:
        """Diffusion loss of a modality's targets, given the features (N, slots, D) that the LLM predicted for them and the
        hidden states (N, slots, H) that it predicted them from."""
        if not self.config.diffusion_into_llm:
            features, states = features.detach(), states.detach()
        aligned = self.aligners[group.modality](features, states)
        return self.decoder(group.modality).loss(
            aligned, group.media[group.target], references(group), generator, count
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
        states: torch.Tensor | None,
        reference: Reference | None = None,
        steps: int = 20,
        guidance: float = 2.0,
        generator: Any = None,
    ) -> torch.Tensor:
        """Predicted features (N, slots, D), and the hidden states (N, slots, H) behind them -> media (N, *shape) in [0, 1]."""
        aligned = self.aligners[modality](features, states)
        return self.decoder(modality).sample(aligned, reference, steps, guidance, generator)

    def generate(self, processor: Any, conversations: Any, **options: Any) -> Any:  # type: ignore[override]
        """Replies to conversations; see `codi2_model.generation.conversations.generate`."""
        from codi2_model.generation.conversations import generate

        return generate(self, processor, conversations, **options)


def count_targets(labels: torch.Tensor, media: list[MediaInputs]) -> tuple[int, int]:
    """Tokens with a label, and target media, of a batch."""
    return int((labels[:, 1:] != NO_LOSS).sum()), sum(int(group.target.sum()) for group in media)


def media_of(fields: dict[str, Any]) -> list[MediaInputs]:
    """The media in the fields of a `CoDi2Batch`, by modality; what a batch lacks is left out."""
    found = []
    for modality in MODALITIES:
        media = fields.get(f"{modality}s")
        if media is not None and len(media):
            rest = [fields.get(f"{modality}_{name}") for name in ("sample", "position", "target", "reference")]
            found.append(MediaInputs(modality, media, *rest))  # type: ignore[arg-type]
    return found


AutoConfig.register("codi2", CoDi2Config)
AutoModel.register(CoDi2Config, CoDi2ForConditionalGeneration)
