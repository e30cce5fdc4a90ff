"""The instruments of General MIDI: their names, concepts, phrases and lowest keys.

Concepts are the same nouns as for images of instruments, if there are such ('saxophone' for all four). Instruments that
sound similar share a family.
"""

from __future__ import annotations

from dataclasses import dataclass

from codi2_datasets.corpora.support.midi_phrases import (
    BEATEN,
    FULL,
    KIT,
    PLUCKED,
    SINGLE,
    SLOW,
    STRUCK,
    Phrase,
)

DRUMS = 128  # the bank of drum kits, in which each key is a drum of its own


@dataclass(frozen=True)
class Instrument:
    program: int
    """As in MIDI, from 0."""
    words: str
    """With its article: 'an alto saxophone'. For effects and others without a phrase, the whole caption."""
    concept: str
    phrases: tuple[Phrase, ...]
    """The phrases it plays; empty if it has no melody."""
    key: int
    """In MIDI, 60 is middle C: the C on which its phrases start; the own key of a drum, 0 for a whole kit."""
    family: str = ""
    bank: int = 0

    @property
    def verb(self) -> str:
        return "singing" if self.concept == "choir" else "playing"


# program, words, concept, phrases, key, family if it differs from the concept
INSTRUMENTS = tuple(
    Instrument(*entry)
    for entry in (
        (0, "a grand piano", "piano", STRUCK, 60), (1, "a bright piano", "piano", STRUCK, 60),
        (2, "an electric grand piano", "electric piano", STRUCK, 60, "piano"),
        (3, "a honky-tonk piano", "piano", STRUCK, 60),
        (4, "an electric piano", "electric piano", STRUCK, 60, "piano"),
        (5, "a glassy electric piano", "electric piano", STRUCK, 60, "piano"),
        (6, "a harpsichord", "harpsichord", STRUCK, 60), (7, "a clavinet", "clavinet", STRUCK, 48),
        (8, "a celesta", "celesta", STRUCK, 72, "glockenspiel"), (9, "a glockenspiel", "glockenspiel", STRUCK, 84),
        (10, "a music box", "music box", STRUCK, 72), (11, "a vibraphone", "vibraphone", STRUCK, 60),
        (12, "a marimba", "marimba", STRUCK, 60, "xylophone"), (13, "a xylophone", "xylophone", STRUCK, 72),
        (14, "tubular bells", "tubular bells", PLUCKED, 60, "bell"), (15, "a dulcimer", "dulcimer", STRUCK, 60),
        (16, "a drawbar organ", "organ", FULL, 60), (17, "a percussive organ", "organ", FULL, 60),
        (18, "a rock organ", "organ", FULL, 60), (19, "a church organ", "organ", FULL, 60),
        (20, "a reed organ", "organ", FULL, 60), (21, "an accordion", "accordion", FULL, 60),
        (22, "a harmonica", "harmonica", FULL, 60), (23, "a bandoneon", "bandoneon", FULL, 60, "accordion"),
        (24, "a nylon-string guitar", "guitar", STRUCK, 48), (25, "a steel-string guitar", "guitar", STRUCK, 48),
        (26, "a jazz guitar", "electric guitar", STRUCK, 48, "guitar"),
        (27, "a clean electric guitar", "electric guitar", STRUCK, 48, "guitar"),
        (28, "a palm-muted electric guitar", "electric guitar", PLUCKED, 48, "guitar"),
        (29, "an overdriven electric guitar", "electric guitar", FULL, 48, "guitar"),
        (30, "a distorted electric guitar", "electric guitar", FULL, 48, "guitar"),
        (31, "a guitar in harmonics", "guitar", PLUCKED, 60),
        (32, "a plucked double bass", "double bass", PLUCKED, 36),
        (33, "a bass guitar played with the fingers", "bass guitar", PLUCKED, 36),
        (34, "a bass guitar played with a pick", "bass guitar", PLUCKED, 36),
        (35, "a fretless bass guitar", "bass guitar", PLUCKED, 36),
        (36, "a slapped bass guitar", "bass guitar", PLUCKED, 36),
        (37, "a popped bass guitar", "bass guitar", PLUCKED, 36),
        (38, "a synthesizer bass", "synthesizer", PLUCKED, 36),
        (39, "a soft synthesizer bass", "synthesizer", PLUCKED, 36),
        (40, "a violin", "violin", SINGLE, 60), (41, "a viola", "viola", SINGLE, 48, "violin"),
        (42, "a cello", "cello", SINGLE, 48), (43, "a bowed double bass", "double bass", SINGLE, 36),
        (44, "trembling strings", "string orchestra", FULL, 60),
        (45, "plucked strings", "string orchestra", STRUCK, 60), (46, "a harp", "harp", STRUCK, 60),
        (47, "timpani", "timpani", PLUCKED, 36), (48, "a string orchestra", "string orchestra", FULL, 60),
        (49, "a slow string orchestra", "string orchestra", SLOW, 60),
        (50, "synthesizer strings", "synthesizer", FULL, 60), (51, "slow synthesizer strings", "synthesizer", SLOW, 60),
        (52, "a choir", "choir", FULL, 60), (53, "a humming choir", "choir", FULL, 60),
        (54, "a synthetic choir", "choir", FULL, 60),
        (55, "an orchestra striking one chord", "orchestra", (), 60), (56, "a trumpet", "trumpet", SINGLE, 60),
        (57, "a trombone", "trombone", SINGLE, 48), (58, "a tuba", "tuba", SINGLE, 36),
        (59, "a muted trumpet", "trumpet", SINGLE, 60), (60, "a French horn", "horn", SINGLE, 48),
        (61, "a brass band", "brass band", FULL, 48), (62, "synthesizer brass", "synthesizer", FULL, 48),
        (63, "soft synthesizer brass", "synthesizer", FULL, 48),
        (64, "a soprano saxophone", "saxophone", SINGLE, 60), (65, "an alto saxophone", "saxophone", SINGLE, 60),
        (66, "a tenor saxophone", "saxophone", SINGLE, 48), (67, "a baritone saxophone", "saxophone", SINGLE, 48),
        (68, "an oboe", "oboe", SINGLE, 60), (69, "an English horn", "English horn", SINGLE, 60, "oboe"),
        (70, "a bassoon", "bassoon", SINGLE, 48), (71, "a clarinet", "clarinet", SINGLE, 60),
        (72, "a piccolo", "piccolo", SINGLE, 84, "flute"), (73, "a flute", "flute", SINGLE, 72),
        (74, "a recorder", "recorder", SINGLE, 72), (75, "a pan flute", "pan flute", SINGLE, 72),
        (76, "a blown bottle", "bottle", SINGLE, 60), (77, "a shakuhachi", "shakuhachi", SINGLE, 60),
        (78, "a whistle", "whistle", SINGLE, 72), (79, "an ocarina", "ocarina", SINGLE, 72),
        (80, "a square-wave synthesizer", "synthesizer", SINGLE, 60),
        (81, "a sawtooth synthesizer", "synthesizer", SINGLE, 60), (82, "a calliope", "calliope", SINGLE, 60),
        (83, "a breathy synthesizer", "synthesizer", SINGLE, 60),
        (84, "a synthesizer like a distorted guitar", "synthesizer", SINGLE, 60),
        (85, "a synthesizer like a voice", "synthesizer", SINGLE, 60),
        (86, "a sawtooth synthesizer in fifths", "synthesizer", SINGLE, 60),
        (87, "a synthesizer with a strong bass", "synthesizer", SINGLE, 48),
        (88, "a fantasy synthesizer", "synthesizer", SLOW, 60), (89, "a warm synthesizer", "synthesizer", SLOW, 60),
        (90, "a bright synthesizer", "synthesizer", SLOW, 60),
        (91, "a synthesizer like voices in space", "synthesizer", SLOW, 60),
        (92, "a synthesizer like rubbed glass", "synthesizer", SLOW, 60),
        (93, "a metallic synthesizer", "synthesizer", SLOW, 60), (94, "a hazy synthesizer", "synthesizer", SLOW, 60),
        (95, "a sweeping synthesizer", "synthesizer", SLOW, 60),
        (96, "a synthesizer like icy rain", "synthesizer", SLOW, 60),
        (97, "a synthesizer like the music of a film", "synthesizer", SLOW, 60),
        (98, "a synthesizer like crystal", "synthesizer", SLOW, 60),
        (99, "an airy synthesizer", "synthesizer", SLOW, 60), (100, "a shining synthesizer", "synthesizer", SLOW, 60),
        (101, "an eerie synthesizer", "synthesizer", SLOW, 60), (102, "an echoing synthesizer", "synthesizer", SLOW, 60),
        (103, "a twinkling synthesizer", "synthesizer", SLOW, 60), (104, "a sitar", "sitar", STRUCK, 48),
        (105, "a banjo", "banjo", STRUCK, 60), (106, "a shamisen", "shamisen", STRUCK, 60),
        (107, "a koto", "koto", STRUCK, 60), (108, "a kalimba", "kalimba", STRUCK, 60),
        (109, "bagpipes", "bagpipes", SINGLE, 60), (110, "a fiddle", "violin", SINGLE, 60),
        (111, "a shehnai", "shehnai", SINGLE, 60), (112, "small bells", "bell", STRUCK, 72),
        (113, "an agogo bell", "agogo bell", BEATEN, 72, "bell"), (114, "a steel drum", "steel drum", STRUCK, 60),
        (115, "a wood block", "wood block", BEATEN, 72), (116, "a taiko drum", "taiko drum", BEATEN, 48),
        (117, "a tom drum", "tom drum", BEATEN, 48), (118, "an electronic drum", "electronic drum", BEATEN, 48),
        (119, "a cymbal played backwards", "cymbal", (), 60), (122, "waves on a shore", "water wave", (), 60),
        (123, "a bird tweeting", "bird", (), 72), (124, "a telephone ringing", "telephone", (), 72),
        (125, "a helicopter flying", "helicopter", (), 60), (126, "people clapping", "clapping hands", (), 60),
        (127, "a gun shot", "gun", (), 60),
    )
)  # fmt: skip
LEFT_OUT = {120: "the noise of fingers on strings", 121: "the noise of a breath"}
PIECES = tuple(
    Instrument(0, words, concept, KIT if key == 0 else BEATEN, key, family, DRUMS)
    for key, words, concept, family in (
        (0, "a drum kit", "drum kit", ""), (36, "a bass drum", "bass drum", ""), (38, "a snare drum", "snare drum", ""),
        (37, "a stick on the rim of a drum", "rim shot", ""), (39, "a hand clap", "clapping hands", ""),
        (43, "a low tom drum", "tom drum", ""), (50, "a high tom drum", "tom drum", ""),
        (42, "a closed hi-hat", "hi-hat", "cymbal"), (46, "an open hi-hat", "hi-hat", "cymbal"),
        (49, "a crash cymbal", "cymbal", ""), (51, "a ride cymbal", "cymbal", ""), (54, "a tambourine", "tambourine", ""),
        (56, "a cowbell", "cowbell", "bell"), (60, "a high bongo", "bongo", ""), (61, "a low bongo", "bongo", ""),
        (63, "a high conga", "conga", "bongo"), (64, "a low conga", "conga", "bongo"),
        (65, "a timbale", "timbale", ""), (69, "a cabasa", "cabasa", "maracas"), (70, "maracas", "maracas", ""),
        (73, "a guiro", "guiro", ""), (75, "claves", "claves", "wood block"), (81, "a triangle", "triangle", ""),
        (82, "a shaker", "shaker", "maracas"), (83, "sleigh bells", "sleigh bells", "bell"),
        (85, "castanets", "castanets", ""),
    )
)  # fmt: skip
