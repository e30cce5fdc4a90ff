"""Failures by webhook, told by a run itself: once, in one line, and never in a run's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from codi2_flows import notify
from codi2_flows.running import recorded


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a receiver on the loopback address has got."""
    found: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    monkeypatch.setenv(notify.WEBHOOK, f"http://127.0.0.1:{receiver.server_port}/")
    yield found
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def test_a_failed_run_is_told_once_and_its_error_stays_the_same(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such row"), recorded("some-flow", str(tmp_path), {}) as run:
        raise ValueError("no such row\nand more of it")
    [message] = messages
    assert message == {
        "flow": "some-flow", "run_id": run.run_id, "state": "failed", "reason": "ValueError: no such row",
        "root": str(tmp_path), "link": None,
    }  # fmt: skip


def test_a_run_that_ends_well_is_not_told(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with recorded("some-flow", str(tmp_path), {}):
        pass
    assert messages == []


def test_a_part_of_a_run_is_told_with_the_whole_alone(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError), recorded("whole", str(tmp_path), {}), recorded("part", str(tmp_path), {}):
        raise ValueError("no")
    assert [message["flow"] for message in messages] == ["whole"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/", "http://127.0.0.1:9/secret", "ftp://example.org", "nonsense"]
)
def test_a_message_that_cannot_be_delivered_is_one_line_without_the_address(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(notify.WEBHOOK, address)
    assert notify.tell("some-flow", "run-1", "failed", "why", "/data") is False
    said = capsys.readouterr().err
    assert said.startswith("$CODI2_WEBHOOK: failed of some-flow could not be told") and said.count("\n") == 1
    assert "secret" not in said


def test_nothing_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(notify.WEBHOOK, raising=False)
    assert notify.tell("some-flow", "run-1", "failed", "why", "/data") is False
