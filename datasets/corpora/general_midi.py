"""General MIDI: 128 instruments and the pieces of a drum kit, from a SoundFont. One row per instrument and phrase.

The audio is rendered here, each phrase alone: all have the same length, key and tempo and about the same loudness, so
that any may be mixed and the mixture's stems are known exactly. Attributes: concept, family, kind 'sound', instrument
('alto saxophone'), program (of MIDI, from 0; drums have 0 and their key), phrase ('rising scale', 'effect' for those
without a melody), key (the phrase's C, in MIDI, 60 is middle C). Two programs, finger and breath noises, are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.corpora.support.midi_instruments import DRUMS, INSTRUMENTS, LEFT_OUT, PIECES, Instrument
from codi2_datasets.corpora.support.midi_phrases import EIGHTH, Notes, Phrase
from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.audio import encode_audio, fade_out, resample
from codi2_datasets.pretrained.packages import require

if TYPE_CHECKING:
    from tinysoundfont import Synth

SOUNDFONT = "usr/share/fluidr3mono-gm-soundfont/FluidR3Mono_GM.sf3"
RATE = 48_000  # Hz; the synthesizer has no anti-aliasing filter, so it renders at a higher rate and the result is downsampled
SECONDS = 2.5
FADE_SECONDS = 0.3
SILENCE_SECONDS = 0.2  # time for released voices to fade out
VELOCITY = 100
GAP = 0.05  # of an eighth, between a note and the next
RMS, PEAK = 0.1, 0.8  # loudness of -20 dB, but never a peak above this
EFFECT = Phrase("effect", "", ((0, 8, 0),))


@dataclass(frozen=True)
class GeneralMidi:
    packages: ClassVar[tuple[str, ...]] = ("tinysoundfont",)
    name: str = "general-midi"
    version: str = "1"
    source: str = "deb:fluidr3mono-gm-soundfont"
    companions: tuple[str, ...] = ()
    licence: str = "MIT"
    description: str = "Instruments playing notes, scales, chords and rhythms, rendered from a SoundFont"
    tasks: tuple[str, ...] = ("text_to_audio", "audio_captioning", "audio_editing", "exemplar_learning")
    size: str = "709 sounds, 19 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        player = Player(package / SOUNDFONT)
        for instrument in (*INSTRUMENTS, *PIECES):
            for phrase in instrument.phrases or (EFFECT,):
                yield self.row(instrument, phrase, player.play(instrument, phrase.notes))
        for program, reason in LEFT_OUT.items():
            yield RejectedRow(self.name, f"{SOUNDFONT}#{program}", reason)

    def row(self, instrument: Instrument, phrase: Phrase, samples: np.ndarray) -> SourceRow:
        number = f"drums-{instrument.key}" if instrument.bank == DRUMS else str(instrument.program)
        attributes = {
            "concept": instrument.concept,
            "family": instrument.family or instrument.concept,
            "kind": "sound",
            "instrument": re.sub(r"^an? ", "", instrument.words),
            "program": instrument.program,
            "phrase": phrase.name,
            "key": instrument.key,
        }
        return SourceRow(
            corpus=self.name,
            locator=f"{SOUNDFONT}#{number}-{phrase.name.replace(' ', '-')}",
            modality="audio",
            payload=encode_audio(samples),
            media_type="audio/flac",
            licence=self.licence,
            author="Frank Wen, Michael Cowgill",
            caption=f"{instrument.words} {phrase.words.format(verb=instrument.verb)}".strip(),
            attributes=attributes,
        )


class Player:
    """A synthesizer with the SoundFont loaded, which takes three seconds."""

    def __init__(self, soundfont: Path) -> None:
        require("this corpus", GeneralMidi.packages)
        from tinysoundfont import Synth  # needed to render audio, not to list corpora

        self.synth: Synth = Synth(samplerate=RATE)
        self.soundfont: int = self.synth.sfload(str(soundfont))

    def play(self, instrument: Instrument, notes: Notes) -> np.ndarray:
        """SECONDS of float64 mono samples at SAMPLE_RATE, at the common level. Independent of earlier calls."""
        self.synth.sounds_off(0)
        self.generate(SILENCE_SECONDS)
        self.synth.program_select(0, self.soundfont, instrument.bank, instrument.program)
        # at equal times a key is released before it is struck again
        events = [(start + max(length - GAP, GAP), 0, instrument.key + step) for start, length, step in notes]
        events += [(start, VELOCITY, instrument.key + step) for start, _, step in notes]
        parts, now = [], 0
        for time, velocity, key in sorted(events):
            parts.append(self.generate(time * EIGHTH - now / RATE))
            now += len(parts[-1])
            if velocity:
                self.synth.noteon(0, key, velocity)
            else:
                self.synth.noteoff(0, key)
        parts.append(self.generate(SECONDS - now / RATE))
        samples = resample(np.concatenate(parts), RATE, SAMPLE_RATE)
        return level(fade_out(samples, round(FADE_SECONDS * SAMPLE_RATE)))

    def generate(self, seconds: float) -> np.ndarray:
        """float64 mono samples at RATE."""
        count = round(seconds * RATE)
        if count <= 0:
            return np.zeros(0)
        stereo = np.frombuffer(self.synth.generate(count), dtype=np.float32).reshape(-1, 2)
        return stereo.astype(np.float64).mean(axis=1)


def level(samples: np.ndarray) -> np.ndarray:
    """Scale to RMS, or less if a peak would exceed PEAK."""
    return samples * min(RMS / np.sqrt(np.mean(samples**2)), PEAK / np.abs(samples).max())


CORPUS = GeneralMidi()
