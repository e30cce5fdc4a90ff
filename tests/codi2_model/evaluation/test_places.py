"""Quality by position in replies with several media, and the measure of what is brought back."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from codi2_model.evaluation.bench.conditions import baseline_answers
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.measures import bare, direction
from codi2_model.evaluation.bench.places import place_questions, score_places
from codi2_model.evaluation.bench.questions import answer_in, questions_of
from codi2_model.evaluation.bench.rows import rows_of
from codi2_model.evaluation.bench.scoring import MODEL, Tally
from codi2_model.evaluation.data import LoadedSample, SampleRow

RED, GREEN, BLUE = (Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue"))


class Colours:
    """A judge that sees the mean colour alone."""

    def embed(self, media: list[Image.Image]) -> np.ndarray:
        rows = np.array([np.asarray(image, float).mean((0, 1)) for image in media]).reshape(-1, 3)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sample(name: str, *images: Image.Image, relation: str | None = None, **more: Any) -> LoadedSample:
    row = SampleRow(name, "text_to_media", "test", "", "", {"relation": relation})
    return LoadedSample(row, more.get("prompt", []), [part(image, f"{name}{n}") for n, image in enumerate(images)])


def part(image: Image.Image, asset_id: str) -> dict[str, Any]:
    return {"type": "image", "value": image, "asset_id": asset_id}


def test_every_medium_of_a_long_reply_is_compared_with_the_truth_of_its_place() -> None:
    samples = [sample("a", RED, GREEN, BLUE), sample("b", RED, GREEN), sample("c", RED)]
    questions = [question for one in samples for question in place_questions(one)]
    assert [question.key for question in questions] == ["a:image:1", "a:image:2", "a:image:3", "b:image:1", "b:image:2"]
    reply = [part(RED, ""), part(BLUE, "")]  # the second one is wrong, and there is no third
    answers: Any = {MODEL: {q.key: answer_in(reply, q.modality, q.place or 1) for q in questions}}
    answers |= baseline_answers(questions, {}, 0)
    embedder, tally = Embedder(), Tally()
    embedder._judges["image"] = Colours()  # type: ignore[assignment]
    score_places(questions, answers, embedder, tally)
    means = {
        (row["metric"], row["baseline"]): row["value"] for row in rows_of(tally, {q.key: "" for q in questions}, seed=0)
    }
    assert [means[f"similarity[place={n}]", None] for n in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert [means[f"answered[place={n}]", None] for n in (1, 2, 3)] == [1.0, 1.0, 0.0]
    assert means["similarity[place=1]", "chance"] == 1.0  # all begin with the same image
    assert bare("image:similarity[place=3].gain") == "similarity" and direction("answered[place=2]") == 1


def test_a_question_stands_for_a_reply_as_before() -> None:
    [question, text] = questions_of(sample("a", RED, GREEN))
    assert (question.key, question.place, question.truth_id) == ("a:image", None, "a0") and text.modality == "text"


def test_what_is_to_be_brought_back_is_no_edit_of_the_last_medium() -> None:
    prompt = [{"role": "user", "content": [part(RED, "first"), part(GREEN, "second")]}]
    row = SampleRow("s", "multi_turn", "test", "", "", {"relation": "recall first"})
    [recalled] = questions_of(LoadedSample(row, prompt, [part(RED, "first")]))
    row = SampleRow("s", "multi_turn", "test", "", "", {"relation": "style"})
    [edited] = questions_of(LoadedSample(row, prompt, [part(BLUE, "third")]))
    assert recalled.is_recall and recalled.source is None
    assert not edited.is_recall and edited.source_id == "second"
