"""Stop sequences cut a text in the same place, however it is split into deltas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codi2_model.serving.scheduler.stop_sequences import StopFilter


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_is_cut_before_the_first_stop_sequence_however_it_comes(pieces: list[str], stops: list[str]) -> None:
    cutter = StopFilter(stops)
    told = "".join(cutter.take(piece) for piece in pieces)
    text, stopped = "".join(pieces), cutter.stopped
    told += cutter.flush()
    assert text.startswith(told) and stopped == any(stop in text for stop in stops)
    if not stopped:
        assert told == text
    else:
        assert not any(stop in told for stop in stops) and any(text[len(told) :].startswith(stop) for stop in stops)
