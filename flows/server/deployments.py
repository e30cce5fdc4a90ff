"""The deployments of `prefect.yaml` with the root, recipe, ports and schedules of one `codi2 server`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from codi2_storage.errors import UsageError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# entry points of the deployments that --nightly and --weekly schedule
NIGHTLY, WEEKLY = "codi2_flows.build_dataset.build_dataset", "codi2_flows.retrain.retrain"


@dataclass(frozen=True)
class DeploymentOptions:
    """Parameters and schedules of the deployments. Without `nightly`, `weekly` and `every` the schedules of the file apply.

    Paths must be absolute, because runs have another working folder.
    """

    root: str
    recipe: str = "demo"
    config: str = "demo"
    workers: int = 2
    limit: int | None = None
    port: int = 8000
    """Port of the model server."""
    nightly: str | None = None
    weekly: str | None = None
    every: timedelta | None = None
    """Interval between builds, from the start of the server; replaces `nightly`."""

    def __post_init__(self) -> None:
        for option, cron in (("--nightly", self.nightly), ("--weekly", self.weekly)):
            if cron is not None:
                check_cron(option, cron)
        if self.nightly and self.every:
            raise UsageError("--nightly and --every both schedule the build: give one of them")


def check_cron(option: str, cron: str) -> None:
    """Raise UsageError if Prefect does not accept the expression."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError:
        raise UsageError(
            f"{option} {cron!r}: not a cron expression; write minute, hour, day, month, weekday, like '0 2 * * *'"
        ) from None


def parse_interval(text: str) -> timedelta:
    """An interval such as '90s', '5m', '2h' or '1d'. Raises UsageError if it is invalid or below 10 seconds."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not match:
        raise UsageError(f"--every {text}: not an interval; write a number with s, m, h or d, like 5m")
    interval = timedelta(seconds=int(match[1]) * UNITS[match[2]])
    if interval < timedelta(seconds=10):
        raise UsageError(f"--every {text}: the interval must be at least 10s")
    return interval


def deployments_file() -> Path:
    """`prefect.yaml`, which is part of the package."""
    return Path(__file__).parent.parent / "prefect.yaml"


def render(options: DeploymentOptions, start: datetime | None = None) -> dict[str, Any]:
    """The content of `prefect.yaml` with the options filled in. `start`: when the server starts (default: now)."""
    content: dict[str, Any] = yaml.safe_load(deployments_file().read_text(encoding="utf-8"))
    values = {name: getattr(options, name) for name in ("root", "recipe", "config", "workers", "limit", "port")}
    for deployment in content["deployments"]:
        if deployment["entrypoint"].endswith(".speedrun"):  # keeps its own recipe and config
            values_here = {name: values[name] for name in ("root", "workers")}
        else:
            values_here = values
        parameters = deployment["parameters"]
        deployment["parameters"] = {name: values_here.get(name, value) for name, value in parameters.items()}
        if deployment["entrypoint"] in (NIGHTLY, WEEKLY):
            deployment["schedules"] = schedules(deployment, options, start or datetime.now(UTC))
    content.pop("definitions", None)
    return content


def schedules(deployment: dict[str, Any], options: DeploymentOptions, start: datetime) -> list[dict[str, Any]]:
    """The schedules of a deployment: those of the options, else those of the file."""
    nightly = deployment["entrypoint"] == NIGHTLY
    slug = "nightly" if nightly else "weekly"
    if nightly and options.every:
        first = start.isoformat(timespec="seconds")
        return [{"interval": options.every.total_seconds(), "anchor_date": first, "timezone": "UTC", "slug": slug}]
    if cron := options.nightly if nightly else options.weekly:
        return [{"cron": cron, "timezone": "UTC", "slug": slug}]
    return list(deployment["schedules"])


def write(options: DeploymentOptions, folder: Path) -> Path:
    """Write the file for `prefect deploy`. Returns its path."""
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump(render(options), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
