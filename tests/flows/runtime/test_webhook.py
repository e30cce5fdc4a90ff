"""Failures by webhook, told by a run itself: once, in one line, and never in a run's way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codi2_flows.runtime import webhook
from codi2_flows.runtime.record_run import record_run
from tests.web import site


@pytest.fixture
def messages(told: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the receiver has got in a test."""
    monkeypatch.setenv(webhook.WEBHOOK, told[0])
    told[1].clear()
    return told[1]


def test_a_failed_run_is_told_once_and_its_error_stays_the_same(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such row"), record_run("some-flow", str(tmp_path), {}) as run:
        raise ValueError("no such row\nand more of it")
    [message] = messages
    assert message == {
        "flow": "some-flow", "run_id": run.run_id, "state": "failed", "reason": "ValueError: no such row",
        "root": str(tmp_path), "link": None,
    }  # fmt: skip


def test_a_run_that_ends_well_is_not_told(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with record_run("some-flow", str(tmp_path), {}):
        pass
    assert messages == []


def test_a_part_of_a_run_is_told_with_the_whole_alone(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError), record_run("whole", str(tmp_path), {}), record_run("part", str(tmp_path), {}):
        raise ValueError("no")
    assert [message["flow"] for message in messages] == ["whole"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/", "http://127.0.0.1:9/secret", "ftp://example.org", "nonsense"]
)
def test_a_message_that_cannot_be_delivered_is_one_line_without_the_address(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(webhook.WEBHOOK, address)
    assert webhook.notify("some-flow", "run-1", "failed", "why", "/data") is False
    said = capsys.readouterr().err
    assert said.startswith("$CODI2_WEBHOOK: ") and "some-flow failed" in said and said.count("\n") == 1
    assert "secret" not in said


def test_nothing_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(webhook.WEBHOOK, raising=False)
    assert webhook.notify("some-flow", "run-1", "failed", "why", "/data") is False


def test_the_webhook_is_posted_to_at_its_url_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"/hook%2Fa?token=%2B%7E+;": "/hook%2Fa?token=%2B%7E+;", "/a b/é#x": "/a%20b/%C3%A9"}
    with site(lambda target: (200, {}, b"")) as web:
        for given, target in asked.items():
            monkeypatch.setenv(webhook.WEBHOOK, f"{web.url}{given}")
            assert webhook.notify("some-flow", "run-1", "failed", "why", "/data") and web.targets.pop() == target
    monkeypatch.setenv(webhook.WEBHOOK, "http://me:secret@127.0.0.1:9/")
    assert (
        not webhook.notify("some-flow", "run-1", "failed", "why", "/data") and "secret" not in capsys.readouterr().err
    )
