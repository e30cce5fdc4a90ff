"""Flow: a list of addresses -> media in tars that connectors read."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_datasets.connectors import Place, connectors
from codi2_datasets.fetching.fetch import fetch_list
from codi2_datasets.fetching.listing import links_of, read_list
from codi2_datasets.fetching.options import Options
from codi2_flows.runtime.record_run import recorded
from codi2_flows.runtime.tasks import LASTING
from codi2_storage.store import Store


@task(name="fetched", **LASTING)
def fetched(source: str, out: str, options: Options, workers: int, connector: str | None) -> dict[str, int]:
    """Fetch what is not settled yet. Returns the rows by status."""
    if connector is None:
        return fetch_list(read_list(source), out, options, workers)
    known = connectors()
    chosen = known[connector].options if connector in known else {}
    return fetch_list(links_of(connector, Place(connector, source, "", dict(chosen))), out, options, workers)


@flow(name="fetch-media", validate_parameters=False)
def fetch_media(
    source: str,
    out: str,
    options: Options | dict[str, Any] | None = None,
    workers: int = 2,
    connector: str | None = None,
    root: str | None = None,
) -> dict[str, int]:
    """Fetch a list (or the links of a connector's files) to `out`; a rerun asks for what may have passed alone.

    `root`: whose catalog keeps that it ran; None: nobody's.
    """
    chosen = options if isinstance(options, Options) else Options(**(options or {}))
    if root is None:
        return fetched(source, out, chosen, workers, connector)
    parameters = {"source": source, "out": out, "options": chosen, "workers": workers, "connector": connector}
    with recorded("fetch-media", root, parameters | {"root": Store(root).uri()}) as run:
        found = fetched(source, out, chosen, workers, connector)
        run.note(uri=Store(out).uri())
    return found
