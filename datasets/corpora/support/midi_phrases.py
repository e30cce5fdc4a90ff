"""Short phrases, written for this dataset, and the kinds of instruments that play them.

All are in C major and in one tempo, two seconds long, so that they can be combined. A note is (start, length, pitch):
start and length in eighths of a quarter of a second, pitch in semitones above the instrument's own C.
"""

from __future__ import annotations

from dataclasses import dataclass

EIGHTH = 0.25  # seconds
MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)
Notes = tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Phrase:
    name: str
    words: str
    """The words after the instrument in a caption: 'a violin ' + words. {verb} is playing or singing."""
    notes: Notes


def in_order(steps: tuple[int, ...], length: float = 1) -> Notes:
    return tuple((index * length, length, step) for index, step in enumerate(steps))


def together(steps: tuple[int, ...], start: float, length: float) -> Notes:
    return tuple((start, length, step) for step in steps)


def beats(*starts: float, key: int = 0) -> Notes:
    return tuple((start, 0.5, key) for start in starts)


ONE_NOTE = Phrase("one note", "{verb} one note", ((0, 6, 0),))
LONG_NOTE = Phrase("long note", "{verb} one long note", ((0, 8, 0),))
RISING = Phrase("rising scale", "{verb} a rising scale", in_order(MAJOR))
FALLING = Phrase("falling scale", "{verb} a falling scale", in_order(MAJOR[::-1]))
ARPEGGIO = Phrase("arpeggio", "{verb} an arpeggio", (*in_order((0, 4, 7, 12, 7, 4)), (6, 2, 0)))
SLOW_ARPEGGIO = Phrase("slow arpeggio", "{verb} a slow arpeggio", in_order((0, 4, 7, 12), 2))
CHORD = Phrase("chord", "{verb} a chord", together((0, 4, 7, 12), 0, 7))
TWO_CHORDS = Phrase("two chords", "{verb} two chords", (*together((0, 5, 9), 0, 4), *together((-1, 2, 7), 4, 4)))
TUNE = Phrase(
    "tune", "{verb} a short tune", ((0, 1, 7), (1, 1, 4), (2, 1, 7), (3, 1, 9), (4, 1.5, 7), (5.5, 0.5, 5), (6, 2, 4))
)
ONE_BEAT = Phrase("one beat", "sounding once", beats(0))
STEADY = Phrase("steady beat", "{verb} a steady beat", beats(0, 2, 4, 6))
FAST = Phrase("fast beat", "{verb} a fast beat", beats(*range(8)))
RHYTHM = Phrase("rhythm", "{verb} a rhythm", beats(0, 1.5, 3, 4, 5, 6, 7.5))

SINGLE = (LONG_NOTE, RISING, FALLING, ARPEGGIO, TUNE)  # sustained, one note at a time
FULL = (LONG_NOTE, RISING, FALLING, CHORD, TUNE)  # sustained, several notes at a time
PLUCKED = (ONE_NOTE, RISING, FALLING, ARPEGGIO, TUNE)  # decaying, one note at a time
STRUCK = (ONE_NOTE, RISING, FALLING, ARPEGGIO, CHORD, TUNE)  # decaying, several notes at a time
SLOW = (LONG_NOTE, SLOW_ARPEGGIO, CHORD, TWO_CHORDS)  # slow attack and release
BEATEN = (ONE_BEAT, STEADY, FAST, RHYTHM)

# for the whole kit; keys of General MIDI instead of semitones: 36 bass drum, 38 snare, 42 and 46 hi-hat, 49 crash, 51
# ride
KIT = (
    Phrase("rock beat", "{verb} a rock beat",
           (*beats(*range(8), key=42), *beats(0, 4, 5, key=36), *beats(2, 6, key=38))),
    Phrase("slow beat", "{verb} a slow beat", (*beats(0, 2, 4, 6, key=51), *beats(0, key=36), *beats(4, key=38))),
    Phrase("swing beat", "{verb} a swing beat",
           (*beats(0, 2, 3.33, 4, 6, 7.33, key=51), *beats(2, 6, key=42))),
    Phrase("drum roll", "{verb} a drum roll", tuple((i / 4, 0.25, 38) for i in range(32))),
    Phrase("fill", "{verb} a fill that ends on a cymbal",
           (*((i / 2, 0.5, key) for i, key in enumerate((38, 38, 50, 50, 48, 48, 47, 47, 43, 43, 41, 41))),
            (6, 2, 49), (6, 1, 36))),
    Phrase("march", "{verb} a march", (*beats(0, 1, 1.5, 2, 3, 3.5, 4, 5, 6, key=38), *beats(0, 2, 4, 6, key=36))),
)  # fmt: skip
