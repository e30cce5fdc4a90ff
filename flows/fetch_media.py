"""The flow `fetch-media`: list of URLs in, media in tars that connectors read out."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
from typing import Any

from prefect import flow, task

from codi2_datasets.connectors import CorpusLocation, connectors
from codi2_datasets.fetching.fetch import fetch_list
from codi2_datasets.fetching.listing import links_of, read_list
from codi2_datasets.fetching.options import Options
from codi2_flows.runtime.record_run import record_run
from codi2_flows.runtime.tasks import TASK_OPTIONS
from codi2_storage.store import Store


@task(name="fetched media", **TASK_OPTIONS)
def fetched_media(source: str, out: str, options: Options, workers: int, connector: str | None) -> dict[str, int]:
    """Fetch every row without a final status. Returns the number of rows by status."""
    if connector is None:
        return fetch_list(read_list(source), out, options, workers)
    known = connectors()
    defaults = known[connector].options if connector in known else {}
    return fetch_list(links_of(connector, CorpusLocation(connector, source, "", dict(defaults))), out, options, workers)


@flow(name="fetch-media", validate_parameters=False)
def fetch_media(
    source: str,
    out: str,
    options: Options | dict[str, Any] | None = None,
    workers: int = 2,
    connector: str | None = None,
    root: str | None = None,
) -> dict[str, int]:
    """Fetch the URLs of a list, or of a connector's files, to `out`. A rerun retries transient failures only.

    `root`: root whose catalog records the run; None: the run is not recorded.
    """
    fetch_options = options if isinstance(options, Options) else Options(**(options or {}))
    if root is None:
        return fetched_media(source, out, fetch_options, workers, connector)
    parameters = {"source": source, "out": out, "options": fetch_options, "workers": workers, "connector": connector}
    with record_run("fetch-media", root, parameters | {"root": Store(root).uri()}) as run:
        counts = fetched_media(source, out, fetch_options, workers, connector)
        run.update(uri=Store(out).uri())
    return counts
