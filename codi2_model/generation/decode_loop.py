"""The loop behind `generation`: writes the replies of a batch token by token, feeds features back, decodes media."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from codi2_model.config import MODALITIES, CoDi2Config
from codi2_model.decoders import Reference, to_waveform
from codi2_model.encoders import scale_norm
from codi2_model.generation.batch_state import Rows
from codi2_model.generation.events import Event, MediumDone, Options, Progress
from codi2_model.modeling import CoDi2ForConditionalGeneration
from codi2_model.modules.media import to_frames, to_image
from codi2_model.processor import CoDi2Processor, Messages

Content = list[dict[str, Any]]


@dataclass
class Medium:
    modality: str
    features: list[torch.Tensor] = field(default_factory=list)
    """One (D,) per slot, on the sphere."""
    states: list[torch.Tensor] = field(default_factory=list)
    """The hidden states (H,) that they were predicted from."""
    value: Any = None


@dataclass
class Reply:
    """The state of one conversation's reply."""

    seed: int
    skeleton: list[str] | None
    room: int
    """Tokens that still fit config.max_length."""
    generator: torch.Generator
    parts: list[list[int] | Medium] = field(default_factory=list)
    text_tokens: int = 0
    ahead: list[torch.Tensor] = field(default_factory=list)
    """Embeddings (H,) of the open medium that the language model still has to read: query tokens, features in their slots."""
    queries: list[int] = field(default_factory=list)
    """Query tokens of the open medium that are still to be read."""
    slots_left: int = 0
    """Feature slots of the open medium that still have to be predicted."""
    done: bool = False
    written: list[int] = field(default_factory=list)
    """Tokens of the reply, slots included, without the one that ends the turn."""

    def media(self) -> list[Medium]:
        return [part for part in self.parts if isinstance(part, Medium)]


def content_of(processor: CoDi2Processor, reply: Reply) -> Content:
    """A finished reply as a list of content parts; empty texts are left out."""
    content: Content = []
    for part in reply.parts:
        if isinstance(part, Medium):
            content.append({"type": part.modality, "value": part.value})
        elif text := processor.decode(part):
            content.append({"type": "text", "text": text})
    return content


def plain_tokens(processor: CoDi2Processor, size: int) -> torch.Tensor:
    """Which of the embedding's rows (size,) are words: those that the tokenizer knows and that are nothing special."""
    plain = torch.zeros(size, dtype=torch.bool)
    plain[: len(processor.tokenizer)] = True
    plain[processor.tokenizer.all_special_ids] = False
    return plain


Read = Callable[[dict[str, Any]], tuple[torch.Tensor, Any]]


class Prefill:
    """Reads prompts: the last hidden states (B, H), and the key-value cache."""

    def __init__(self, model: CoDi2ForConditionalGeneration) -> None:
        self.model = model

    def __call__(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        output = self.model(**batch, use_cache=True)
        assert output.hidden is not None
        return output.hidden[:, -1], output.past_key_values


class Writer:
    """Writes the replies of a batch, token by token."""

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
                raise ValueError(f"conversation {number} ends with the assistant's turn: there is nothing to reply to")
        self.model, self.processor, self.options = model, processor, options
        self.config: CoDi2Config = model.config
        self.batch = processor(conversations).to(model.device)
        self.read: Read = Prefill(model)
        lengths = self.batch["attention_mask"].sum(dim=1).tolist()
        skeleton = options.skeleton()
        for name in skeleton or ():
            if name != "text" and name not in self.config.modalities:
                raise ValueError(f"this model makes no {name}: it has {', '.join(self.config.modalities)}")
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
        """Read the prompts."""
        self.model.eval()
        return Rows(*self.read(self.batch), self.batch["attention_mask"])

    def write(self) -> Iterator[None]:
        """Write all replies to their ends; gives control back after every token of the batch. Features are left to decode."""
        rows = self.begin()
        while True:
            logits = rows.logits(self.model)
            steps = [self.take(r, logits[n], rows.hidden[n]) for n, r in enumerate(self.replies)]
            yield
            if all(reply.done for reply in self.replies):
                return
            rows = rows.read(self.model, torch.stack(steps), [not reply.done for reply in self.replies])

    def take(self, reply: Reply, logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Take a reply's next step; the embedding (H,) of what it wrote, which the language model is to read next."""
        if reply.done:
            return self._embed_token(self.config.pad_token_id)
        last = reply.parts[-1] if reply.parts else None
        reply.room -= 1
        if isinstance(last, Medium) and (reply.slots_left or reply.ahead):
            return self._take_slot(reply, last, hidden)
        if isinstance(last, Medium):
            reply.parts.append([])  # the medium is whole: what follows its end token is text until another begins
            token = self.config.end_id(last.modality)
        else:
            token = self._take_token(reply, logits)
        if not reply.done:
            reply.written.append(token)
        return self._embed_token(token)

    def _take_slot(self, reply: Reply, medium: Medium, hidden: torch.Tensor) -> torch.Tensor:
        """The next step of an open medium. Slots are predicted from the hidden state before each; or, where the config has
        query tokens, from those at the queries, and the features are read when all are there."""
        asked = len(self.config.query_ids()) - len(reply.queries)  # queries that were read before this step
        if reply.slots_left and (asked or not self.config.parallel_slots):
            # a flow draws its noise; regression has none
            feature = scale_norm(self.model.predict(hidden, reply.generator), self.config.scale)
            medium.features.append(feature)
            medium.states.append(hidden)
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
                reply.parts.append(Medium(modality))
                reply.slots_left = self.config.feature_tokens
                reply.queries = self.config.query_ids()
                return token
        if token == self.config.eos_token_id:
            reply.done = True
            return token
        if not reply.parts:
            reply.parts.append([])
        words = reply.parts[-1]
        assert isinstance(words, list)
        words.append(token)
        reply.text_tokens += 1
        return token

    def _choose(self, reply: Reply, logits: torch.Tensor) -> int:
        """The next token among those that may come here: text, a medium's begin, the end of the turn."""
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
        # a reply that has used up its text may go on with a medium, if that is what the model wants
        return token if text_fits or token in begins else end

    def _choose_in_skeleton(self, reply: Reply, logits: torch.Tensor, medium_fits: bool, text_fits: bool) -> int:
        config = self.config
        assert reply.skeleton is not None
        if reply.skeleton and reply.skeleton[0] == "text":
            token = config.eos_token_id
            if text_fits:
                # a wish to begin a medium, or to end the turn, ends the text and no more
                stops = [config.begin_id(m) for m in config.modalities]
                token = self._sample(reply, logits, True, [*stops, config.eos_token_id])
                if token not in (*stops, config.eos_token_id):
                    return token
            while reply.skeleton and reply.skeleton[0] == "text":
                reply.skeleton.pop(0)
        if not reply.skeleton:
            return config.eos_token_id
        if not medium_fits:
            raise ValueError(f"the reply has no room for its {reply.skeleton[0]}: max_length or max_media is reached")
        return config.begin_id(reply.skeleton[0])

    def _sample(self, reply: Reply, logits: torch.Tensor, text: bool, special: Sequence[int]) -> int:
        """A token out of `special` and, if `text`, all plain ones; ids the tokenizer does not know never come."""
        allowed = self.plain.clone() if text else torch.zeros_like(self.plain)
        allowed[list(special)] = True
        logits = logits.masked_fill(~allowed, float("-inf"))
        if self.options.temperature == 0:
            return int(logits.argmax())
        chances, order = (logits / self.options.temperature).softmax(dim=-1).sort(descending=True, stable=True)
        chances[chances.cumsum(dim=-1) - chances > self.options.top_p] = 0
        return int(order[torch.multinomial(chances, 1, generator=reply.generator)])

    def _embed_token(self, token: int) -> torch.Tensor:
        embed = self.model.get_input_embeddings()
        return embed(torch.tensor(token, device=self.model.device))

    def decode(self, modality: str) -> None:
        """Decode all media of a modality in one batch."""
        found = [
            (row, n, m) for row, r in enumerate(self.replies) for n, m in enumerate(r.media()) if m.modality == modality
        ]
        if not found:
            return
        features = torch.stack([torch.stack(m.features) for _, _, m in found])
        states = torch.stack([torch.stack(m.states) for _, _, m in found])
        generators = [self._generator(row, number) for row, number, _ in found]
        reference = self._reference(modality, [row for row, _, _ in found])
        steps, guidance = self.options.sampling(self.config)
        made = self.model.decode(modality, features, states, reference, steps, guidance, generators)
        for (_, _, medium), value in zip(found, self._values(modality, made), strict=True):
            medium.value = value

    def decode_one(self, medium: Medium) -> Iterator[Event]:
        """Decode a medium of the first conversation, saying how far it is."""
        number = next(n for n, m in enumerate(self.replies[0].media()) if m is medium)
        heard = (torch.stack(medium.features)[None], torch.stack(medium.states)[None])
        features = self.model.aligners[medium.modality](*heard)
        reference = self._reference(medium.modality, [0])
        decoder = self.model.decoder(medium.modality)
        steps, guidance = self.options.sampling(self.config)
        sampler = decoder.sample_steps(features, reference, steps, guidance, [self._generator(0, number)])
        made = torch.zeros(0)
        every = self.options.preview_every
        for step, made in enumerate(sampler, start=1):
            shown = every and step % every == 0 and step < steps
            preview = self._values(medium.modality, decoder.finish(made))[0] if shown else None
            yield Progress(number, step, steps, preview)
        medium.value = self._values(medium.modality, decoder.finish(made))[0]
        yield MediumDone(number, medium.modality, medium.value)

    def _values(self, modality: str, made: torch.Tensor) -> list[Any]:
        return values(self.model, modality, made, self.options.upscale)

    def _generator(self, row: int, number: int) -> torch.Generator:
        """The noise of a medium depends on its conversation's seed and its place in the reply alone."""
        words = np.random.SeedSequence([self.replies[row].seed & (2**63 - 1), number]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(words[0]) & (2**63 - 1))

    def _reference(self, modality: str, rows: Sequence[int]) -> Reference | None:
        index = self.batch[f"{modality}_reply_reference"][list(rows)]
        media = self.batch[f"{modality}s"]
        if not len(media):
            return None
        return Reference(media[index.clamp_min(0)], index >= 0)


def values(model: Any, modality: str, made: torch.Tensor, upscale: bool = False) -> list[Any]:
    """What a decoder made, (N, *shape) in [0, 1], as people hold it: PIL images, float32 samples, frames of uint8.

    upscale: images are enlarged, where the decoder carries a network for that.
    """
    config: CoDi2Config = model.config
    if modality == "image":
        upscaler = getattr(model.decoder(modality), "upscaler", None)
        return [to_image(image) for image in (upscaler(made) if upscale and upscaler is not None else made)]
    if modality == "video":
        return [to_frames(video, config.video) for video in made]
    waves = made[:, 0] * 2 - 1 if config.audio.form == "wave" else to_waveform(made, config.audio)
    return list(waves.cpu().numpy().astype(np.float32))
