"""Decoding loop: generates the replies of a batch token by token, feeds back features, decodes media."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.decoders import Reference, to_waveform
from codi2_model.encoders import scale_norm
from codi2_model.generation.batch_state import Rows
from codi2_model.generation.events import Event, MediumDone, Options, Progress
from codi2_model.modules.media import to_frames, to_image
from codi2_model.processor import CoDi2Processor, Messages

if TYPE_CHECKING:
    from codi2_model.modeling import CoDi2ForConditionalGeneration

Content = list[dict[str, Any]]


@dataclass
class ReplyMedium:
    """A medium of a reply, with the features predicted so far and, after decoding, its value."""

    modality: str
    features: list[torch.Tensor] = field(default_factory=list)
    """One (D,) per slot, of length `config.scale`."""
    states: list[torch.Tensor] = field(default_factory=list)
    """The hidden states (H,) from which the features were predicted, with those of the prompt added."""
    value: Any = None


@dataclass
class Reply:
    """State of the reply to one conversation."""

    seed: int
    skeleton: list[str] | None
    """Types of the parts that still have to follow, if the order is forced."""
    room: int
    """Number of tokens left until config.max_length."""
    generator: torch.Generator
    prompt: torch.Tensor | None = None
    """What the prompt reader read of the prompt (slots, H)."""
    parts: list[list[int] | ReplyMedium] = field(default_factory=list)
    text_tokens: int = 0
    ahead: list[torch.Tensor] = field(default_factory=list)
    """Embeddings (H,) of features of the open medium that the language model has not processed yet."""
    queries: list[int] = field(default_factory=list)
    """Query tokens of the open medium that are not processed yet."""
    slots_left: int = 0
    """Number of feature slots of the open medium to predict."""
    done: bool = False
    written: list[int] = field(default_factory=list)
    """Tokens of the reply including slots, without the token that ends the turn."""

    def media(self) -> list[ReplyMedium]:
        """Media of the reply in order."""
        return [part for part in self.parts if isinstance(part, ReplyMedium)]


def content_of(processor: CoDi2Processor, reply: Reply) -> Content:
    """A finished reply as a list of content parts, without empty texts."""
    content: Content = []
    for part in reply.parts:
        if isinstance(part, ReplyMedium):
            content.append({"type": part.modality, "value": part.value})
        elif text := processor.decode(part):
            content.append({"type": "text", "text": text})
    return content


def plain_tokens(processor: CoDi2Processor, size: int) -> torch.Tensor:
    """Mask (size,) of embedding rows that are text tokens: in the tokenizer and not special."""
    plain = torch.zeros(size, dtype=torch.bool)
    plain[: len(processor.tokenizer)] = True
    plain[processor.tokenizer.all_special_ids] = False
    return plain


Read = Callable[[dict[str, Any]], tuple[torch.Tensor, Any]]
"""Prefill function: batch -> last hidden states (B, H), key-value cache."""


class Prefill:
    """Processes whole prompts: batch -> last hidden states (B, H), key-value cache."""

    def __init__(self, model: CoDi2ForConditionalGeneration) -> None:
        self.model = model

    def __call__(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        output = self.model(**batch, use_cache=True)
        assert output.hidden is not None
        return output.hidden[:, -1], output.past_key_values


class Writer:
    """Generates the replies of a batch, token by token.

    Raises ValueError for a conversation that ends with an assistant message, and for forced modalities that the model lacks.
    """

    def __init__(
        self,
        model: CoDi2ForConditionalGeneration,
        processor: CoDi2Processor,
        conversations: Sequence[Messages],
        options: Options,
        seeds: Sequence[int],
    ) -> None:
        if len(seeds) != len(conversations):
            raise ValueError(f"{len(seeds)} seeds for {len(conversations)} conversations")
        for number, messages in enumerate(conversations):
            if messages and messages[-1].get("role") == "assistant":
                raise ValueError(
                    f"conversation {number} ends with an assistant message; the last message must be the user's"
                )
        self.model, self.processor, self.options = model, processor, options
        self.config: CoDi2Config = model.config
        self.batch = processor(conversations).to(model.device)
        self.read: Read = Prefill(model)
        lengths = self.batch["attention_mask"].sum(dim=1).tolist()
        skeleton = options.skeleton()
        for name in skeleton or ():
            if name != "text" and name not in self.config.modalities:
                raise ValueError(f"this model does not generate {name}, only text, {', '.join(self.config.modalities)}")
        self.replies = [
            Reply(
                seed=int(seed),
                skeleton=None if skeleton is None else list(skeleton),
                room=self.config.max_length - length,
                generator=torch.Generator().manual_seed(int(seed)),
            )
            for seed, length in zip(seeds, lengths, strict=True)
        ]
        self.plain = plain_tokens(processor, self.config.vocab_size)

    def begin(self) -> Rows:
        """Process the prompts."""
        self.model.eval()
        self._read_prompts()
        return Rows(*self.read(self.batch), self.batch["attention_mask"])

    def _read_prompts(self) -> None:
        if self.model.prompt_reader is None:
            return
        rows = self.batch["reply_prompt"]
        prompted = (rows >= 0).nonzero()[:, 0]
        if not len(prompted):
            return
        fields = {name: self.batch[name][rows[prompted]] for name in ("text_ids", "text_mask")}
        prompts = self.model.prompt_reader(self.model.read_texts(fields), fields["text_mask"])
        for number, states in zip(prompted.tolist(), prompts, strict=True):
            self.replies[number].prompt = states

    def write(self) -> Iterator[None]:
        """Generate all replies to their ends, yielding after every token of the batch. Media are decoded later."""
        rows = self.begin()
        while True:
            logits = rows.logits(self.model)
            steps = [self.take(r, logits[n], rows.hidden[n]) for n, r in enumerate(self.replies)]
            yield
            if all(reply.done for reply in self.replies):
                return
            rows = rows.read(self.model, torch.stack(steps), [not reply.done for reply in self.replies])

    def take(self, reply: Reply, logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Take the next step of a reply. Returns the embedding (H,) of the new token, the next input of the language model."""
        if reply.done:
            return self._embed_token(self.config.pad_token_id)
        last = reply.parts[-1] if reply.parts else None
        reply.room -= 1
        if isinstance(last, ReplyMedium) and (reply.slots_left or reply.ahead):
            return self._take_slot(reply, last, hidden)
        if isinstance(last, ReplyMedium):
            reply.parts.append([])  # the medium is complete; text follows its end token
            token = self.config.end_id(last.modality)
        else:
            token = self._take_token(reply, logits)
        if not reply.done:
            reply.written.append(token)
        return self._embed_token(token)

    def _take_slot(self, reply: Reply, medium: ReplyMedium, hidden: torch.Tensor) -> torch.Tensor:
        """The next step of an open medium.

        Each slot is predicted from the hidden state before it. With query tokens, slots are predicted from the hidden states
        at the queries, and the features are processed when all are predicted.
        """
        processed = len(self.config.query_ids()) - len(reply.queries)  # queries before this step
        if reply.slots_left and (processed or not self.config.parallel_slots):
            # the flow head needs the generator for its noise
            feature = scale_norm(self.model.predict(hidden, reply.generator), self.config.scale)
            medium.features.append(feature)
            prompt = None if reply.prompt is None else reply.prompt[len(medium.states)]
            medium.states.append(self.model.add_prompts(hidden, prompt))
            reply.ahead.append(self.model.embed_features(feature))
            reply.slots_left -= 1
        if reply.queries:
            token = reply.queries.pop(0)
            reply.written.append(token)
            return self._embed_token(token)
        reply.written.append(self.config.slot_id)
        return reply.ahead.pop(0)

    def _take_token(self, reply: Reply, logits: torch.Tensor) -> int:
        token = self._choose(reply, logits)
        for modality in MODALITIES:
            if token == self.config.begin_id(modality):
                if reply.skeleton:
                    reply.skeleton.pop(0)
                reply.parts.append(ReplyMedium(modality))
                reply.slots_left = self.config.feature_tokens
                reply.queries = self.config.query_ids()
                return token
        if token == self.config.eos_token_id:
            reply.done = True
            return token
        if not reply.parts:
            reply.parts.append([])
        text = reply.parts[-1]
        assert isinstance(text, list)
        text.append(token)
        reply.text_tokens += 1
        return token

    def _choose(self, reply: Reply, logits: torch.Tensor) -> int:
        """The next token among those allowed here: text, begin of a medium, end of the turn."""
        config, options = self.config, self.options
        end = config.eos_token_id
        medium_fits = reply.room >= config.medium_tokens and len(reply.media()) < config.max_media
        text_fits = reply.room >= 1 and reply.text_tokens < options.max_new_tokens
        if reply.skeleton is not None:
            return self._choose_in_skeleton(reply, logits, medium_fits, text_fits)
        allowed = [m for m in config.modalities if m in options.modalities] if medium_fits else []
        begins = [config.begin_id(m) for m in allowed]
        text = "text" in options.modalities
        may_end = text or bool(reply.media()) or not begins
        token = self._sample(reply, logits, text, begins + [end] * may_end)
        # a reply at its limit of text tokens may continue with a medium if the model chooses one
        return token if text_fits or token in begins else end

    def _choose_in_skeleton(self, reply: Reply, logits: torch.Tensor, medium_fits: bool, text_fits: bool) -> int:
        config = self.config
        assert reply.skeleton is not None
        if reply.skeleton and reply.skeleton[0] == "text":
            token = config.eos_token_id
            if text_fits:
                # the begin of a medium, or the end of the turn, only ends the text part
                stops = [config.begin_id(m) for m in config.modalities]
                token = self._sample(reply, logits, True, [*stops, config.eos_token_id])
                if token not in (*stops, config.eos_token_id):
                    return token
            while reply.skeleton and reply.skeleton[0] == "text":
                reply.skeleton.pop(0)
        if not reply.skeleton:
            return config.eos_token_id
        if not medium_fits:
            raise ValueError(
                f"the reply cannot hold the forced {reply.skeleton[0]}: max_length {config.max_length} or max_media {config.max_media} reached"
            )
        return config.begin_id(reply.skeleton[0])

    def _sample(self, reply: Reply, logits: torch.Tensor, text: bool, special: Sequence[int]) -> int:
        """Sample a token among `special` and, with `text`, all text tokens of the tokenizer."""
        allowed = self.plain.clone() if text else torch.zeros_like(self.plain)
        allowed[list(special)] = True
        logits = logits.masked_fill(~allowed, float("-inf"))
        if self.options.temperature == 0:
            return int(logits.argmax())
        probabilities, order = (logits / self.options.temperature).softmax(dim=-1).sort(descending=True, stable=True)
        probabilities[probabilities.cumsum(dim=-1) - probabilities > self.options.top_p] = 0
        return int(order[torch.multinomial(probabilities, 1, generator=reply.generator)])

    def _embed_token(self, token: int) -> torch.Tensor:
        embed = self.model.get_input_embeddings()
        return embed(torch.tensor(token, device=self.model.device))

    def decode(self, modality: str) -> None:
        """Decode all media of a modality in one batch."""
        items = [
            (row, n, m) for row, r in enumerate(self.replies) for n, m in enumerate(r.media()) if m.modality == modality
        ]
        if not items:
            return
        features = torch.stack([torch.stack(m.features) for _, _, m in items])
        states = torch.stack([torch.stack(m.states) for _, _, m in items])
        generators = [self._generator(row, number) for row, number, _ in items]
        reference = self._reference(modality, [row for row, _, _ in items])
        steps, guidance = self.options.sampling(self.config)
        decoded = self.model.decode(modality, features, states, reference, steps, guidance, generators)
        for (_, _, medium), value in zip(items, self._values(modality, decoded), strict=True):
            medium.value = value

    def decode_one(self, medium: ReplyMedium) -> Iterator[Event]:
        """Decode a medium of the first conversation, with progress events."""
        number = next(n for n, m in enumerate(self.replies[0].media()) if m is medium)
        inputs = (torch.stack(medium.features)[None], torch.stack(medium.states)[None])
        features = self.model.condition(medium.modality, *inputs)
        reference = self._reference(medium.modality, [0])
        decoder = self.model.decoder(medium.modality)
        steps, guidance = self.options.sampling(self.config)
        sampler = decoder.sample_steps(features, reference, steps, guidance, [self._generator(0, number)])
        latents = torch.zeros(0)
        every = self.options.preview_every
        for step, latents in enumerate(sampler, start=1):
            has_preview = every and step % every == 0 and step < steps
            preview = self._values(medium.modality, decoder.finish(latents))[0] if has_preview else None
            yield Progress(number, step, steps, preview)
        medium.value = self._values(medium.modality, decoder.finish(latents))[0]
        yield MediumDone(number, medium.modality, medium.value)

    def _values(self, modality: str, media: torch.Tensor) -> list[Any]:
        return values(self.model, modality, media, self.options.upscale)

    def _generator(self, row: int, number: int) -> torch.Generator:
        """Generator of a medium's noise, seeded by the conversation's seed and the number of the medium in the reply."""
        words = np.random.SeedSequence([self.replies[row].seed & (2**63 - 1), number]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(words[0]) & (2**63 - 1))

    def _reference(self, modality: str, rows: Sequence[int]) -> Reference | None:
        index = self.batch[f"{modality}_reply_reference"][list(rows)]
        media = self.batch[f"{modality}s"]
        if not len(media):
            return None
        return Reference(media[index.clamp_min(0)], index >= 0)


def values(model: Any, modality: str, media: torch.Tensor, upscale: bool = False) -> list[Any]:
    """Output of a decoder (N, *shape) in [0, 1] -> PIL images, float32 samples, or uint8 frames.

    upscale: enlarge images, if the decoder has an upscaler.
    """
    config: CoDi2Config = model.config
    if modality == "image":
        upscaler = getattr(model.decoder(modality), "upscaler", None)
        return [to_image(image) for image in (upscaler(media) if upscale and upscaler is not None else media)]
    if modality == "video":
        return [to_frames(video, config.video) for video in media]
    with torch.autocast(media.device.type, enabled=False):  # the vocoder's sums need float32
        waves = media[:, 0] * 2 - 1 if config.audio.form == "wave" else to_waveform(media, config.audio)
    return list(waves.cpu().numpy().astype(np.float32))
