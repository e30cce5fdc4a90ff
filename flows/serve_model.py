"""Flow: a checkpoint -> a server that answers. The flow runs as long as the server does."""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)

from prefect import flow, task

from codi2_model.checkpoints import resolve


@task(name="server")
def server(checkpoint: str, host: str, port: int) -> None:
    """Serve until stopped."""
    from codi2_model.serving.app import serve

    serve(checkpoint, host=host, port=port, blocking=True)


@flow(name="serve-model", validate_parameters=False)
def serve_model(checkpoint: str | None = None, root: str = "./data", host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a checkpoint (the promoted one if none is named)."""
    server(str(resolve(root, checkpoint)), host, port)


if __name__ == "__main__":
    serve_model()
