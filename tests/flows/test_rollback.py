"""`codi2 rollback`: the former model is promoted, and the promotion event is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from codi2_flows.cli.serve import rollback, serve
from codi2_flows.runtime.events import MODEL_PROMOTED
from codi2_flows.serve_model import serve_model
from codi2_model.checkpoints.registry import promote, promoted
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventsWorker]:
    """What Prefect's own worker would send to the server that is configured."""
    AssertingEventsClient.reset()
    worker = EventsWorker.instance(AssertingEventsClient)
    monkeypatch.setattr("prefect.events.utilities.EventsWorker.instance", lambda *_: worker)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield worker
    worker.drain()
    AssertingEventsClient.reset()


def test_a_rollback_is_told_as_a_promotion(
    tmp_path: Path, heard: EventsWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    promote(store, "aaa1", "/a", "first")
    promote(store, "bbb2", "/b", "better")
    rollback(root=str(tmp_path))
    heard.drain()
    events = [event for client in AssertingEventsClient.all for event in client.events]
    [told] = [event for event in events if event.event == MODEL_PROMOTED]
    assert told.payload == {"root": str(tmp_path), "checkpoint_id": "aaa1", "uri": "/a"}
    row = promoted(store)
    assert row and row["checkpoint_id"] == "aaa1" and capsys.readouterr().out.strip() == "aaa1"


def test_following_and_one_checkpoint_do_not_go_together(tmp_path: Path) -> None:
    for command in (serve, serve_model.fn):
        with pytest.raises(UsageError, match=r"--follow .*--checkpoint abc"):
            command(checkpoint="abc", root=str(tmp_path), follow=True)
