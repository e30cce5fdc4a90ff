"""A server that goes along with what is promoted: a look at the root's deployments every few seconds, and a change of model.

A look lists one folder; only where that has changed is anything read. What cannot be served is said and left: the server goes
on with the model it has. What it serves stands in `deployments` under a name of its own.
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
EVERY = 3.0  # seconds between two looks
FOLDER = "catalog/commits/deployment"


class CannotServe(RuntimeError):
    """A model cannot be loaded; the message says why."""


class PromotionFollower:
    """Looks in a thread of its own for as long as the `with` block lasts. `change` has the server take another model."""

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
                self.look()
                self._away = False
            except Exception as error:  # of a store that is away, or a cluster: asked again at the next look
                if not self._away:
                    self._say(f"cannot look for promotions: {_line(error)}; still serving {self.served.model_id}")
                self._away = True

    def look(self) -> None:
        """Go along with the last promotion, if it is another than the model served and was not refused before."""
        listed = self.store.list(FOLDER)
        if listed == self._seen:
            return
        row = promoted(self.store)
        if row is not None and row["checkpoint_id"] not in (self.served.model_id, self.refused):
            self._go_along(row)
        elif row is not None and row["checkpoint_id"] == self.served.model_id:
            self.refused = None  # the next promotion of what was refused is tried anew
        self._seen = listed

    def _go_along(self, row: dict[str, Any]) -> None:
        new, old = ServedModel(str(row["uri"]), str(row["checkpoint_id"])), self.served.model_id
        try:
            new.folder()
            self.served = self.change(new)
        except Exception as error:
            if is_transient(error):
                raise
            self.refused = new.model_id
            self._say(f"{new.model_id} is promoted but cannot be served ({_line(error)}); going on with {old}")
            return
        self.refused = None
        self._say(f"now serving {new.model_id} instead of {old}")
        self._note(self.served, f"promoted: {row['reason']}")

    def _note(self, served: ServedModel | None, why: str) -> None:
        """Put what is served into the catalog; a server does not stop for a root that cannot be written to."""
        self._since = later(now(), self._since)
        identity, uri = (served.model_id, served.checkpoint) if served else (None, None)
        try:
            deploy(self.store, self.name, identity, uri, self._since, why)
        except Exception as error:
            self._say(f"what is served cannot be recorded: {_line(error)}")

    def _say(self, words: str) -> None:
        log.info(words)
        print(f"serve: {words}", file=sys.stderr, flush=True)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
