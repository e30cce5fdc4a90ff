"""The deployments of `prefect.yaml` for one server: its root, recipe, ports and schedules in place of those of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# the deployment that each schedule option is about
NIGHTLY, WEEKLY = "codi2_flows.build_dataset.build_dataset", "codi2_flows.retrain.retrain"


class DeployError(ValueError):
    """A schedule or a file of deployments that does not hold; the message names the option."""


@dataclass(frozen=True)
class DeploymentOptions:
    """What deployments are made with. None of `nightly`, `weekly`, `every`: the schedules of the file.

    Paths are absolute here: runs have a working folder of their own.
    """

    root: str
    recipe: str = "demo"
    config: str = "demo"
    workers: int = 2
    limit: int | None = None
    port: int = 8000
    """Of the model's server."""
    nightly: str | None = None
    weekly: str | None = None
    every: timedelta | None = None
    """Between two builds, counted from the start: in place of `nightly`."""

    def __post_init__(self) -> None:
        for option, cron in (("--nightly", self.nightly), ("--weekly", self.weekly)):
            if cron is not None:
                check_cron(option, cron)
        if self.nightly and self.every:
            raise DeployError("--nightly and --every both say when builds start: give one")


def check_cron(option: str, cron: str) -> None:
    """Raises DeployError where Prefect would not take it."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError:
        raise DeployError(f"{option} {cron!r}: no cron expression (minute hour day month weekday)") from None


def parse_interval(text: str) -> timedelta:
    """'90s', '5m', '2h', '1d'. Raises DeployError for what is none of these, or under 10 seconds."""
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found:
        raise DeployError(f"--every {text}: a number with s, m, h or d is wanted, like 5m")
    every = timedelta(seconds=int(found[1]) * UNITS[found[2]])
    if every < timedelta(seconds=10):
        raise DeployError(f"--every {text}: at least 10s")
    return every


def deployments_file() -> Path:
    """`prefect.yaml` of the repository, which an installed package holds a copy of."""
    return Path(__file__).parent.parent / "prefect.yaml"


def render(chosen: DeploymentOptions, start: datetime | None = None) -> dict[str, Any]:
    """The content of `prefect.yaml` with what was chosen; `start` is when the server starts (now)."""
    content: dict[str, Any] = yaml.safe_load(deployments_file().read_text(encoding="utf-8"))
    values = {name: getattr(chosen, name) for name in ("root", "recipe", "config", "workers", "limit", "port")}
    for deployment in content["deployments"]:
        if deployment["entrypoint"].endswith(".speedrun"):  # has a recipe and a config of its own
            values_here = {name: values[name] for name in ("root", "workers")}
        else:
            values_here = values
        parameters = deployment["parameters"]
        deployment["parameters"] = {name: values_here.get(name, value) for name, value in parameters.items()}
        if deployment["entrypoint"] in (NIGHTLY, WEEKLY):
            deployment["schedules"] = schedules(deployment, chosen, start or datetime.now(UTC))
    content.pop("definitions", None)
    return content


def schedules(deployment: dict[str, Any], chosen: DeploymentOptions, start: datetime) -> list[dict[str, Any]]:
    """Of a deployment, as chosen."""
    nightly = deployment["entrypoint"] == NIGHTLY
    slug = "nightly" if nightly else "weekly"
    if nightly and chosen.every:
        first = start.isoformat(timespec="seconds")
        return [{"interval": chosen.every.total_seconds(), "anchor_date": first, "timezone": "UTC", "slug": slug}]
    if cron := chosen.nightly if nightly else chosen.weekly:
        return [{"cron": cron, "timezone": "UTC", "slug": slug}]
    return list(deployment["schedules"])


def write(chosen: DeploymentOptions, folder: Path) -> Path:
    """The file that `prefect deploy` is given."""
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump(render(chosen), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
