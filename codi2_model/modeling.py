"""`CoDi2ForConditionalGeneration`: the CoDi-2 model as a transformers model.

It consists of encoders, projections, a Llama, a feature head and decoders.

- The embeddings of feature slots are projected features (`embed_features`), of input media and of generated ones.
- The head predicts the slot at position t from the hidden state at t - 1; with `parallel_slots`, all slots of a medium from
  the query tokens before them.
- `losses` are unweighted; `loss` is their sum weighted by `config.loss_weights`.
- A batch can mix modalities. Errors name the sample if slots and features do not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, Cache, LlamaForCausalLM, PreTrainedModel
from transformers.utils import ModelOutput

from codi2_model.config import CoDi2Config
from codi2_model.decoders import DiffusionDecoder, Reference, build_decoder
from codi2_model.encoders import Encoders, scale_norm
from codi2_model.encoders.text_states import TextStates
from codi2_model.modules.connectors import build_connector
from codi2_model.modules.heads import build_head, projection
from codi2_model.modules.llm import add_lora, llm_config, trained_parts
from codi2_model.modules.losses import NO_LOSS, token_loss
from codi2_model.modules.noise import Generators, row_generators
from codi2_model.modules.prompt_reader import PromptReader
from codi2_model.modules.slots import MediaInputs, check_slots, gather, media_of, positions, references, slot_indices
from codi2_model.published_parts import Sources


@dataclass
class CoDi2Output(ModelOutput):
    """Output of the forward pass. `losses` omits losses without targets in the batch."""

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    """tokens, feature_cosine and feature_mse (or feature_flow), diffusion: scalars, unweighted."""
    logits: torch.Tensor | None = None
    """(B, T, V), only without labels or with return_logits."""
    predicted: dict[str, torch.Tensor] | None = None
    """modality -> predicted features of the media, (N, slots, D)."""
    true: dict[str, torch.Tensor] | None = None
    """modality -> encoder features of the media, (N, slots, D)."""
    hidden: torch.Tensor | None = None
    """Last hidden state (B, T, H)."""
    past_key_values: Cache | None = None


class CoDi2ForConditionalGeneration(Sources, PreTrainedModel):  # type: ignore[misc]
    """The CoDi-2 model.

    `build(config)` creates a new model, with published weights for parts that have a source. `from_pretrained(folder)`
    loads a saved model strictly.
    """

    config_class = CoDi2Config
    base_model_prefix = "codi2"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["LlamaDecoderLayer"]  # noqa: RUF012

    config: CoDi2Config

    def __init__(self, config: CoDi2Config, llm: LlamaForCausalLM | None = None) -> None:
        """llm: a language model that fits the config; None creates one with random weights."""
        super().__init__(config)
        self.encoders = Encoders(config)
        self.in_projection = projection(config.feature_dim, config.hidden_size, config.hidden_size)
        self.head = build_head(config)
        self.aligners = nn.ModuleDict({m: build_connector(config) for m in config.modalities})
        self.decoders = nn.ModuleDict({m: build_decoder(config, m) for m in config.modalities})
        self.text_states = None if config.text_states is None else TextStates(config.text_states)
        if self.text_states is not None:
            self.text_projection = nn.Linear(self.text_states.width, config.hidden_size)
        self.prompt_reader: PromptReader | None = None
        if self.text_states is not None and config.prompt_layers:
            sizes = config.hidden_size, config.feature_tokens, config.prompt_layers
            self.prompt_reader = PromptReader(self.text_states.width, *sizes)
        if llm is None:
            self.llm = LlamaForCausalLM(llm_config(config))
        self.post_init()
        if llm is not None:
            self.llm = llm
        if config.lora is not None:
            add_lora(self.llm, config.lora)

    def _init_weights(self, module: nn.Module) -> None:
        """Do nothing: all parts keep the initialisation of torch, diffusers and Llama."""

    def trained_llm(self) -> list[nn.Module]:
        """Modules of the language model that the stage `mllm` trains."""
        return trained_parts(self.llm, self.config)

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding of the language model."""
        return self.llm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding of the language model."""
        self.llm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The output layer of the language model."""
        return self.llm.get_output_embeddings()

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """Features (..., D) of an encoder or predicted, of any vector length -> input embeddings (..., H) of slots."""
        return self.in_projection(scale_norm(features, self.config.scale))

    def encode_text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (N, L) from `CoDi2Processor.encode_captions` -> (N, D) in the feature space of the encoders."""
        if self.text_states is None:
            return self.encoders.encode_text(ids, mask)
        return self.encoders.encode_states(self.text_states.pooled(ids, mask))

    def predict(self, hidden: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Hidden states (..., H) before the slots -> predicted features (..., D)."""
        return self.head(hidden, generator)

    def condition(self, modality: str, features: torch.Tensor | None, states: torch.Tensor | None) -> torch.Tensor:
        """Condition of the decoder (N, slots, decoder_dim) from features (N, slots, D), hidden states (N, slots, H), or both."""
        use_features = states is None or self.config.decoder_input != "states"
        return self.aligners[modality](features if use_features else None, states)

    def decoder(self, modality: str) -> DiffusionDecoder:
        """The decoder of a modality."""
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
        """Forward pass of a `CoDi2Batch` as keyword arguments, with losses if there are labels.

        position_ids: for packed rows, counting from 0 for each sample; samples of a row do not attend to each other.
        features: modality -> (N, slots, D) to use in the slots instead of encoder features.
        encoded: modality -> encoder features (N, slots, D) computed before.
        generator: for the noise of the losses. seeds: modality -> a noise seed per target, so that the noise does not
        depend on the batch.
        counts: loss -> divisor of its sum: the targets of a whole optimiser step if the batch is a part of it. A
        diffusion loss without a count is skipped. None: the counts of the batch (`loss_counts`).
        Raises ValueError if slots and features do not match.
        """
        media = media_of(fields)
        check_slots(self.config, input_ids, media, sample_ids)
        computed = encoded or {}
        true = {
            g.modality: computed[g.modality] if g.modality in computed else self.encoders.features(g.modality, g.media)
            for g in media
        }
        overrides = features or {}
        texts = self.read_texts(fields)
        embeddings = self.embed(input_ids, media, {m: overrides.get(m, true[m]) for m in true}, fields, texts)
        if position_ids is None:
            attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            position_ids = positions(attention_mask)
        else:
            attention_mask = None  # transformers separates packed samples by their positions
        states = self.llm.model(
            inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=position_ids, use_cache=use_cache
        )
        hidden = states.last_hidden_state
        shift = -self.config.feature_tokens if self.config.parallel_slots else -1
        before = {g.modality: gather(hidden, g, self.config.feature_tokens, shift) for g in media}
        output = CoDi2Output(true=true, hidden=hidden, past_key_values=states.past_key_values)
        if not self.training or self.config.head.kind == "regression":  # a flow head needs many steps for a prediction
            output.predicted = {modality: self.predict(states) for modality, states in before.items()}
        if labels is None or return_logits:
            output.logits = self.llm.lm_head(hidden)
        if labels is not None:
            counts = self.loss_counts(*count_targets(labels, media)) if counts is None else counts
            prompts = {g.modality: self.read_prompts(texts, fields, fields.get(f"{g.modality}_prompt")) for g in media}
            output.losses = self._losses(hidden, labels, media, before, prompts, true, counts, seeds or {}, generator)
            output.loss = self._total(output.losses, hidden)
        return output

    def read_texts(self, fields: Mapping[str, Any]) -> torch.Tensor | None:
        """The text encoder's states (P, L, width) of a batch's texts; None where there is no encoder or no text."""
        if self.text_states is None or not len(fields.get("text_ids", ())):
            return None
        return self.text_states(fields["text_ids"], fields["text_mask"])

    def read_prompts(
        self, texts: torch.Tensor | None, fields: Mapping[str, Any], rows: torch.Tensor | None
    ) -> torch.Tensor | None:
        """The prompt reader's states (N, slots, H) of the prompts in rows (N,) of `read_texts`; None without a reader or a text."""
        if self.prompt_reader is None or texts is None or rows is None:
            return None
        return self.prompt_reader.read(texts, fields["text_mask"], rows)

    def add_prompts(self, states: torch.Tensor, prompts: torch.Tensor | None) -> torch.Tensor:
        """Hidden states before media (N, slots, H), with what `read_prompts` read of their prompts."""
        if self.prompt_reader is None:
            return states
        return self.prompt_reader.add(torch.zeros_like(states) if prompts is None else prompts, states)

    def embed(
        self,
        input_ids: torch.Tensor,
        media: list[MediaInputs],
        features: dict[str, torch.Tensor],
        fields: Mapping[str, Any],
        texts: torch.Tensor | None,
    ) -> torch.Tensor:
        """Input embeddings (B, T, H): token embeddings, plus the text encoder's states of `read_texts`, with features in the
        slots."""
        embeddings = self.get_input_embeddings()(input_ids)
        if texts is not None:
            states = texts.flatten(0, 1)
            projected = self.text_projection(torch.cat([states.new_zeros(1, states.shape[1]), states]))
            has_state = (fields["text_index"] > 0)[..., None]
            embeddings = embeddings + (projected[fields["text_index"]] * has_state).to(embeddings.dtype)
        for group in media:
            rows, columns = slot_indices(group, self.config.feature_tokens)
            slots = self.embed_features(features[group.modality]).to(embeddings.dtype)
            embeddings = embeddings.index_put((rows, columns), slots)
        return embeddings

    def _losses(
        self,
        hidden: torch.Tensor,
        labels: torch.Tensor,
        media: list[MediaInputs],
        before: dict[str, torch.Tensor],
        prompts: dict[str, torch.Tensor | None],
        true: dict[str, torch.Tensor],
        counts: Mapping[str, float],
        seeds: Mapping[str, Sequence[int]],
        generator: torch.Generator | None,
    ) -> dict[str, torch.Tensor]:
        losses: dict[str, torch.Tensor] = {}
        marked = labels[:, 1:] != NO_LOSS
        if bool(marked.any()):
            logits = self.llm.lm_head(hidden[:, :-1][marked])  # only at labels, because the vocabulary is large
            losses["tokens"] = token_loss(logits, labels[:, 1:][marked], counts["tokens"])
        targets = [group for group in media if bool(group.target.any())]
        if not targets:
            return losses
        for group in targets:
            rows = seeds.get(group.modality)
            noise = generator if rows is None else row_generators(rows)
            states = before[group.modality][group.target]
            features = true[group.modality][group.target].detach()
            scored = self.head.score(states, features, noise, counts[self.head.losses[0]])
            terms = dict(scored.losses)
            if "diffusion" in counts:
                read = prompts[group.modality]
                prompted = None if read is None else read[group.target]
                terms["diffusion"] = self._diffusion(
                    group, scored.estimate, states, prompted, noise, counts["diffusion"]
                )
            for name, value in terms.items():  # every medium has the same weight
                losses[name] = losses[name] + value if name in losses else value
        return losses

    def loss_counts(self, tokens: int, media: int) -> dict[str, float]:
        """Divisor of each loss: number of labelled tokens, or of target media."""
        weights = self.config.loss_weights
        names = [*self.head.losses, *(["diffusion"] if weights.diffusion > 0 else [])]
        return {"tokens": float(tokens)} | dict.fromkeys(names, float(media))

    def _diffusion(
        self,
        group: MediaInputs,
        features: torch.Tensor,
        states: torch.Tensor,
        prompts: torch.Tensor | None,
        generator: Generators,
        count: float,
    ) -> torch.Tensor:
        """Diffusion loss of the targets of a modality, from predicted features (N, slots, D), hidden states (N, slots, H) and
        the states of their prompts."""
        if not self.config.diffusion_into_llm:
            features, states = features.detach(), states.detach()
        aligned = self.condition(group.modality, features, self.add_prompts(states, prompts))
        return self.decoder(group.modality).loss(
            aligned, group.media[group.target], references(group), generator, count
        )

    def _total(self, losses: dict[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
        total = hidden.sum() * 0.0  # a batch without targets needs a graph too
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
        """Predicted features (N, slots, D) and their hidden states (N, slots, H) -> media (N, *shape) in [0, 1]."""
        aligned = self.condition(modality, features, states)
        return self.decoder(modality).sample(aligned, reference, steps, guidance, generator)

    def generate(self, processor: Any, conversations: Any, **options: Any) -> Any:  # type: ignore[override]
        """Generate replies; see `codi2_model.generation.conversations.generate`."""
        from codi2_model.generation.conversations import generate

        return generate(self, processor, conversations, **options)


def count_targets(labels: torch.Tensor, media: list[MediaInputs]) -> tuple[int, int]:
    """Number of labelled tokens and of target media in a batch."""
    return int((labels[:, 1:] != NO_LOSS).sum()), sum(int(group.target.sum()) for group in media)


AutoConfig.register("codi2", CoDi2Config)
AutoModel.register(CoDi2Config, CoDi2ForConditionalGeneration)
