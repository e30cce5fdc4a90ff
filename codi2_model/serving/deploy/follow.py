"""Following promotions: checks the root for a newly promoted model every few seconds, and switches the server to it.

A check lists one folder, and reads the catalog only if the folder has changed. If a promoted model cannot be served, the
server prints a message and keeps its model. The served model is recorded in the table `deployments` under the server's name.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from codi2_model.checkpoints.registry import deploy, later, now, promoted
from codi2_model.serving.scheduler.hot_swap import ServedModel
from codi2_storage.coordination.transient_errors import is_transient
from codi2_storage.store import Store

log = logging.getLogger("codi2.serve")
EVERY = 3.0  # seconds between two checks
FOLDER = "catalog/commits/deployment"


class CannotServe(RuntimeError):
    """A model cannot be loaded; the message gives the reason."""


class PromotionFollower:
    """Checks for promotions in a thread during the `with` block. `change` switches the model of the server."""

    def __init__(
        self,
        root: str | Store,
        served: ServedModel,
        change: Callable[[ServedModel], ServedModel],
        port: int,
        every: float = EVERY,
    ) -> None:
        self.store = root if isinstance(root, Store) else Store(root)
        self.served, self.change, self.every = served, change, every
        self.name = f"serve-{port}-{secrets.token_hex(2)}"
        self.refused: str | None = None
        self._seen: list[str] | None = None
        self._since = ""
        self._away = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codi2-follow", daemon=True)

    def __enter__(self) -> Self:
        self._note(self.served, "started")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._note(None, "stopped")

    def _run(self) -> None:
        while not self._end.wait(self.every):
            try:
                self.check()
                self._away = False
            except Exception as error:  # for example an unreachable store: the next check tries again
                if not self._away:
                    self._print(f"cannot check for promotions: {_line(error)}; still serving {self.served.model_id}")
                self._away = True

    def check(self) -> None:
        """Switch to the promoted model, unless it is served already or could not be served before."""
        listed = self.store.list(FOLDER)
        if listed == self._seen:
            return
        row = promoted(self.store)
        if row is not None and row["checkpoint_id"] not in (self.served.model_id, self.refused):
            self._switch(row)
        elif row is not None and row["checkpoint_id"] == self.served.model_id:
            self.refused = None  # try again if the refused model is promoted once more
        self._seen = listed

    def _switch(self, row: dict[str, Any]) -> None:
        new, old = ServedModel(str(row["uri"]), str(row["checkpoint_id"])), self.served.model_id
        try:
            new.folder()
            self.served = self.change(new)
        except Exception as error:
            if is_transient(error):
                raise
            self.refused = new.model_id
            self._print(f"{new.model_id} is promoted but cannot be served ({_line(error)}); still serving {old}")
            return
        self.refused = None
        self._print(f"now serving {new.model_id} instead of {old}")
        self._note(self.served, f"promoted: {row['reason']}")

    def _note(self, served: ServedModel | None, why: str) -> None:
        """Record the served model in the catalog. An error is printed and does not stop the server."""
        self._since = later(now(), self._since)
        identity, uri = (served.model_id, served.checkpoint) if served else (None, None)
        try:
            deploy(self.store, self.name, identity, uri, self._since, why)
        except Exception as error:
            self._print(f"the served model cannot be recorded in the catalog: {_line(error)}")

    def _print(self, message: str) -> None:
        log.info(message)
        print(f"serve: {message}", file=sys.stderr, flush=True)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
