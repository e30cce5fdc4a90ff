"""Baselines and text scores."""

from __future__ import annotations

import pytest

from codi2_model.evaluation.baselines import copy_input, prompt_similarity
from codi2_model.evaluation.text_scores import exact_match, token_f1


def nearest_prompts(queries: list[str], train: list[str]) -> list[int]:
    return [int(row.argmax()) for row in prompt_similarity(queries, train)]


def test_the_nearest_prompt_shares_the_rare_words() -> None:
    train = ["draw a dog in the flat style", "draw a cat in the flat style", "draw a cat in the night style"]
    assert nearest_prompts(["please draw a cat, in NIGHT style", "a dog"], train) == [2, 0]


def test_ties_and_unknown_words_go_to_the_first() -> None:
    assert nearest_prompts(["zebra", ""], ["one", "two", "one"]) == [0, 0]
    assert nearest_prompts(["one"], ["one", "two", "one"]) == [0]


def test_no_train_texts_are_an_error() -> None:
    with pytest.raises(ValueError, match="no train texts"):
        nearest_prompts(["x"], [])


def test_copying_takes_the_last_medium_of_the_modality() -> None:
    prompt = [
        {"role": "user", "content": [{"type": "image", "value": "first"}, {"type": "audio", "value": "sound"}]},
        {"role": "user", "content": [{"type": "image", "value": "query"}, {"type": "text", "text": "x"}]},
    ]
    assert copy_input(prompt, "image") == "query" and copy_input(prompt, "audio") == "sound"
    assert copy_input(prompt[1:], "audio") is None and copy_input(prompt, "text") is None


@pytest.mark.parametrize(
    ("answer", "truth", "f1", "same"),
    [
        ("A red apple.", "a red apple", 1.0, 1.0),
        ("red apple", "apple red", 1.0, 0.0),
        ("a green apple", "a red apple", 2 / 3, 0.0),
        ("the the the", "the", 0.5, 0.0),
        ("", "apple", 0.0, 0.0),
        ("", "", 1.0, 1.0),
    ],
)
def test_token_f1_and_exact_match(answer: str, truth: str, f1: float, same: float) -> None:
    assert token_f1(answer, truth) == pytest.approx(f1) and exact_match(answer, truth) == same
