"""Flow: a file of requests -> media, a page and rows in `generations`. A rerun goes on where it stopped."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect import flow, task


@task(name="generations")
def generations(requests: str, out: str, checkpoint: str | None, root: str) -> str:
    """Answer every request. Returns the page's URI."""
    from codi2_model.serving.batch import generate_requests

    return generate_requests(requests, out, checkpoint, root)


@flow(name="generate-batch", validate_parameters=False)
def generate_batch(requests: str, out: str, checkpoint: str | None = None, root: str = "./data") -> str:
    """Generate for every request of a JSONL file; the promoted checkpoint is used if none is named."""
    return generations(requests, out, checkpoint, root)
