"""What a run shows on Prefect's page: right where there is one, nothing and no harm where there is none."""

from __future__ import annotations

import logging

import pytest
from PIL import Image

from codi2_flows.runtime import artifacts, events, progress


def test_tables_are_markdown_and_empty_cells_stay_empty() -> None:
    text = artifacts.markdown_table([{"x": 1, "y": None}, {"x": 0.123456, "y": "b"}])
    assert text == "| x | y |\n| --- | --- |\n| 1 |  |\n| 0.1235 | b |"


def test_pictures_travel_within_the_text_and_are_small(tmp_path) -> None:  # type: ignore[no-untyped-def]
    Image.effect_noise((2000, 2000), 60).save(tmp_path / "sheet.png")
    text = artifacts.inline_image((tmp_path / "sheet.png").read_bytes(), "builds/x/sheets/image_editing.png")
    assert text.startswith("![image editing](data:image/webp;base64,") and len(text) < 600_000
    assert "svg+xml" in artifacts.inline_image(b"<svg/>", "plots/samples.svg")


def test_nothing_is_shown_and_nothing_told_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda *a, **k: pytest.fail("shown"))
    monkeypatch.setattr(events, "emit_event", lambda *a, **k: pytest.fail("told"))
    artifacts.gate_artifact([], True, "the first model")
    artifacts.build_artifacts("memory://nowhere", "none")
    events.build_published("memory://nowhere", "b", 1)
    events.model_promoted("memory://nowhere", "c", "uri")
    with progress.progress_artifacts():
        logging.getLogger("codi2.progress").info("x", extra={"fields": {"done": 1, "total": 2}})


def test_keys_are_such_that_prefect_takes_them() -> None:
    assert artifacts.slug("train mllm / Stage 2!") == "train-mllm-stage-2"


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_a_step_is_shown_once_it_goes_on_and_moved_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, float, str]] = []
    handler = progress.ProgressHandler(every=0.0)
    monkeypatch.setattr(
        progress,
        "create_progress_artifact",
        lambda percent, key, description: made.append((key, percent, description)) or 1,
    )
    monkeypatch.setattr(
        progress, "update_progress_artifact", lambda which, percent, text: made.append((str(which), percent, text))
    )
    for done in (0, 50, 100):
        record = logging.LogRecord("codi2.progress", logging.INFO, "", 0, "x", (), None)
        record.step, record.fields = "write", {"done": done, "total": 100, "unit": "samples"}
        handler.emit(record)
    assert [(key, percent) for key, percent, _ in made] == [("progress-write", 0.0), ("1", 50.0), ("1", 100.0)]
    assert made[1][2].endswith(" s left") and made[2][2] == "write: 100 of 100 samples"
