"""The command `server`: builds, retrains and serves on a schedule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CONFIGS, CPUS, DEFAULT_ROOT, RECIPES, Limit, Port, Root, Workers


def server(
    *,
    root: Root = DEFAULT_ROOT,
    recipe: Annotated[str, Parameter(help=f"Recipe of builds and retrainings. {RECIPES}")] = "demo",
    config: Annotated[str, Parameter(help=f"Config of retrainings. {CONFIGS}")] = "demo",
    port: Annotated[
        Port, Parameter(help="Port of Prefect's page and API on the loopback address. 0: any free port.")
    ] = 4200,
    page_port: Annotated[Port, Parameter(help="Port of `codi2 browse`. 0: any free port.")] = 8765,
    model_port: Annotated[Port, Parameter(help="Port of the model server. 0: any free port.")] = 8000,
    nightly: Annotated[
        str | None, Parameter(help="Cron expression (UTC) of the build. Default: 0 2 * * *, every night.")
    ] = None,
    weekly: Annotated[
        str | None, Parameter(help="Cron expression (UTC) of the retraining. Default: 0 3 * * 0, every Sunday.")
    ] = None,
    every: Annotated[
        str | None, Parameter(help="Build now and at this interval, like 5m or 2h, instead of --nightly.")
    ] = None,
    workers: Workers = CPUS,
    limit: Annotated[Limit, Parameter(help="Limit of builds, as in `codi2 build`.")] = None,
    webhook: Annotated[
        str | None,
        Parameter(help="URL that receives a POST when a run fails, crashes or is cancelled; or set CODI2_WEBHOOK."),
    ] = None,
) -> None:
    """Build, retrain and serve on a schedule.

    Starts a Prefect server with a worker and all deployments, `codi2 browse`, and the server of the promoted model.
    Ctrl-C ends all of them.
    """
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_flows.runtime.webhook import WEBHOOK, check_url
    from codi2_flows.server import deployments
    from codi2_flows.server.server import ServerConfig, exclusive, run
    from codi2_model.training.config import TrainConfig
    from codi2_storage.host.ports import free_port
    from codi2_storage.store import Store

    check_pipeline(load_recipe(recipe), TrainConfig.from_yaml(config))  # errors appear before anything starts
    url = webhook or os.environ.get(WEBHOOK)
    server_config = ServerConfig(
        Store(root).uri(),
        free_port(port),
        free_port(page_port, option="--page-port"),
        check_url(url) if url else None,
    )
    server_config.set_environment()
    options = deployments.DeploymentOptions(
        server_config.root,
        absolute_file(recipe),
        absolute_file(config),
        workers,
        limit,
        free_port(model_port, option="--model-port"),
        nightly,
        weekly,
        deployments.parse_interval(every) if every else None,
    )
    with exclusive(server_config):
        run(server_config, deployments.write(options, server_config.home), build_now=options.every is not None)


def absolute_file(name: str) -> str:
    """The absolute path of a file, because runs have another working folder. The name of a shipped file stays as it is."""
    return str(Path(name).absolute()) if Path(name).is_file() else name


SERVER_COMMANDS = (server,)
