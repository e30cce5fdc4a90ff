"""The command that runs everything on a schedule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import CONFIGS, CPUS, DEFAULT_ROOT, RECIPES, Limit, Port, Root, Workers


def server(
    *,
    root: Root = DEFAULT_ROOT,
    recipe: Annotated[str, Parameter(help=f"Of the nightly build and of retraining. {RECIPES}")] = "demo",
    config: Annotated[str, Parameter(help=f"Of retraining. {CONFIGS}")] = "demo",
    port: Annotated[
        Port, Parameter(help="Of Prefect's page and API, on the loopback address; 0: any free one.")
    ] = 4200,
    page_port: Annotated[Port, Parameter(help="Of our page (codi2 browse); 0: any free one.")] = 8765,
    model_port: Annotated[Port, Parameter(help="Of the promoted model's server; 0: any free one.")] = 8000,
    nightly: Annotated[str | None, Parameter(help="Cron (UTC) of the build; 0 2 * * * if left out.")] = None,
    weekly: Annotated[str | None, Parameter(help="Cron (UTC) of retraining; 0 3 * * 0 if left out.")] = None,
    every: Annotated[
        str | None, Parameter(help="Build at once and then as often as this: 5m, 2h. In place of --nightly.")
    ] = None,
    workers: Workers = CPUS,
    limit: Annotated[Limit, Parameter(help="As for build.")] = None,
    webhook: Annotated[
        str | None, Parameter(help="Address that is told of runs that fail, crash or are cancelled; or CODI2_WEBHOOK.")
    ] = None,
) -> None:
    """Build, retrain and serve on a schedule: a Prefect server, worker, deployments and our page. Ctrl-C ends all of it."""
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_flows.runtime.webhook import WEBHOOK, check_url
    from codi2_flows.server import deployments
    from codi2_flows.server.server import Place, alone, run
    from codi2_model.training.config import TrainConfig
    from codi2_storage.host.ports import free_port
    from codi2_storage.store import Store

    check_pipeline(load_recipe(recipe), TrainConfig.from_yaml(config))  # mistakes are known before anything starts
    told = webhook or os.environ.get(WEBHOOK)
    place = Place(
        Store(root).uri(),
        free_port(port),
        free_port(page_port, option="--page-port"),
        check_url(told) if told else None,
    )
    place.take_environment()
    chosen = deployments.Chosen(
        place.root,
        absolute_file(recipe),
        absolute_file(config),
        workers,
        limit,
        free_port(model_port, option="--model-port"),
        nightly,
        weekly,
        deployments.parse_every(every) if every else None,
    )
    with alone(place):
        run(place, deployments.write(chosen, place.home), at_once=chosen.every is not None)


def absolute_file(name: str) -> str:
    """A file's whole path, since runs have a folder of their own; a shipped one's name as it is."""
    return str(Path(name).absolute()) if Path(name).is_file() else name


SERVER_COMMANDS = (server,)
