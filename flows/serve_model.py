"""The flow `serve-model`: serves a checkpoint over HTTP. The flow runs as long as the server does."""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)

from dataclasses import replace

from prefect import flow, task

from codi2_model.checkpoints.registry import resolve_named
from codi2_model.serving.deploy.settings import ServerSettings, read_token
from codi2_storage.errors import UsageError


@task(name="server")
def server(
    checkpoint: str,
    name: str,
    host: str,
    port: int,
    settings: ServerSettings | None,
    token_file: str | None,
    follow: str | None,
) -> None:
    """Serve until stopped. The token is read here, so that no run parameter contains it."""
    from codi2_model.serving.deploy.app import serve

    with_token = replace(settings or ServerSettings(), token=read_token(token_file))
    serve(checkpoint, host=host, port=port, blocking=True, model_id=name, settings=with_token, follow=follow)


@flow(name="serve-model", validate_parameters=False)
def serve_model(
    checkpoint: str | None = None,
    root: str = "./data",
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: ServerSettings | None = None,
    token_file: str | None = None,
    follow: bool = False,
) -> None:
    """Serve a checkpoint (default: the promoted one).

    `follow`: switch to the promoted model whenever a promotion or rollback changes it, without losing a request.
    """
    if follow and checkpoint is not None:
        raise UsageError(
            f"--follow serves the promoted model and cannot be combined with --checkpoint {checkpoint}: leave one of them out"
        )
    model = resolve_named(root, checkpoint)
    server(str(model.folder), model.name, host, port, settings, token_file, root if follow else None)


if __name__ == "__main__":
    serve_model()
