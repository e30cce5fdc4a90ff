"""The commands about runs: how things stand, what a run said, and runs that were killed taken up again."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.output.tables import show

COLOURS = {"running": "cyan", "completed": "green", "failed": "red", "crashed": "bold red", "cancelled": "yellow"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "bold red"}


def status(
    *,
    root: Root = DEFAULT_ROOT,
    runs: Annotated[int, Parameter(help="Runs that ended, at most so many.")] = 10,
    json: Annotated[bool, Parameter(help="Everything as one JSON object.")] = False,
) -> None:
    """What runs and how far it is, what ran, what failed and why, what is in place and comes next, how large it all is."""
    from codi2_flows.cli.output.status import status as read

    found = read(root, runs)
    if json:
        print(found.to_json())
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    tell(console, "running", [running_row(line) for line in found.running], "nothing")
    tell(console, "ended", [ended_row(line) for line in found.ended], "nothing yet")
    tell(console, "to look at", [trouble_row(line, root) for line in found.troubled], "nothing")
    for title, rows in (("never started", found.never_started), ("gave way", found.gave_way)):
        if rows:
            tell(console, title, [waiting_row(row) for row in rows[:runs]], "")
    tell(console, "in place", list(places(found)), "")
    coming = [{"flow": row["flow"], "at": moment(row["at"]), "run": row["name"]} for row in found.scheduled or []]
    tell(
        console,
        "next",
        coming,
        "nothing scheduled" if found.scheduled is not None else "no schedule: no Prefect server asked",
    )
    sizes = [
        {"folder": name, "size": size(about["bytes"]), "files": f"{about['files']:,}"}
        for name, about in found.sizes.items()
    ]
    tell(console, found.root, sizes, "empty")


def tell(console: Console, title: str, rows: list[dict[str, Any]], nothing: str) -> None:
    """A table under a title, or the word for none."""
    console.print(Text(title, style="bold"), end="  " if not rows else "\n")
    if not rows:
        console.print(Text(nothing, style="dim"))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2), pad_edge=True)
    for name in rows[0]:
        table.add_column(name, overflow="fold", no_wrap=name in ("run", "since", "at", "status"))
    for row in rows:
        table.add_row(*(Text(str(value or ""), style=COLOURS.get(str(value), "")) for value in row.values()))
    console.print(table)


def running_row(line: Any) -> dict[str, Any]:
    left = f", {lasting(line.left)} left" if line.left is not None else ""
    return {
        "run": line.run_id, "since": moment(line.since), "for": lasting(line.seconds), "beat": f"{lasting(line.heartbeat)} ago",
        "progress": f"{line.progress or 'starting'}{left}",
    }  # fmt: skip


def ended_row(line: Any) -> dict[str, Any]:
    return {
        "run": line.run_id, "status": line.status, "since": moment(line.since), "took": lasting(line.seconds),
        "what came of it": line.reason or (f"build {line.build_id}" if line.build_id else ""),
    }  # fmt: skip


def trouble_row(line: Any, root: str) -> dict[str, Any]:
    remedy = line.remedy or f"codi2 logs {line.run_id} --root {root}"
    return {"run": line.run_id, "status": line.status, "why": line.reason, "do": remedy}


def waiting_row(row: dict[str, Any]) -> dict[str, Any]:
    return {"flow": row["flow"], "at": moment(row["at"]), "run": row["name"], "why": row["why"]}


def places(found: Any) -> list[dict[str, Any]]:
    model, build = found.model, found.build
    rows = [
        {
            "": "model",
            " ": f"{model['checkpoint_id']} since {moment(model['since'])}: {model['reason']}" if model else "none",
        }
    ]
    told = (
        f"{build['build_id']} of {build['recipe']}, {build['samples']:,} samples, {moment(build['created_at'])}"
        if build
        else "none"
    )
    rows.append({"": "latest build", " ": told})
    rows += [{"": "pinned", " ": f"{pin['kind']} {pin['target']} {pin['reason']}"} for pin in found.pinned]
    return rows


def logs(
    run: Annotated[str | None, Parameter(help="Run, or the beginning of its id; the last one if left out.")] = None,
    *,
    root: Root = DEFAULT_ROOT,
    follow: Annotated[bool, Parameter(help="Go on until the run ends.")] = False,
    json: Annotated[bool, Parameter(help="The lines as they are kept.")] = False,
) -> None:
    """What a run said: Prefect, progress, workers and training in one stream."""
    from json import dumps

    from codi2_flows.runtime.logs import read_lines
    from codi2_storage.coordination.runs import get
    from codi2_storage.store import Store

    store = Store(root)
    chosen = find(store, run)
    stream = chosen.parent or chosen.run_id  # a part writes to the stream of the whole
    console = Console(highlight=False, soft_wrap=True)
    place = 0
    while True:
        now = get(store, chosen.run_id)
        lines, place = read_lines(store, stream, place)
        for line in lines:
            if stream == chosen.run_id or line["run"] == chosen.run_id:
                console.print(dumps(line, ensure_ascii=False) if json else readable(line), markup=False)
        if not follow or now is None or now.over or dead(store, chosen.run_id):
            return
        time.sleep(0.5 if store.is_local else 5.0)


def dead(store: Any, run_id: str) -> bool:
    from codi2_storage.coordination import runs

    return runs.dead(store, run_id) is not None


def find(store: Any, run: str | None) -> Any:
    """The run that is meant. Raises UsageError where there is none, or several."""
    from codi2_storage.coordination.runs import list_runs

    found = list_runs(store)
    if run is not None:
        found = [one for one in found if one.run_id == run] or [one for one in found if one.run_id.startswith(run)]
    if not found:
        raise RunError(f"no run {run!r} under {store.root}" if run else f"nothing ran under {store.root} yet")
    if run is not None and len(found) > 1:
        raise RunError(f"{len(found)} runs begin with {run!r}: give more of the id")
    return found[0]


class RunError(ValueError):
    """The run that was asked for is not there; the message says so."""


def readable(line: dict[str, Any]) -> Text:
    text = Text(moment(line["time"], seconds=True), style="dim")
    text.append(f" {line['level'].upper():<8}", style=LEVELS.get(line["level"], "dim"))
    if line["step"]:
        text.append(f"{line['step']}: " if not line["message"].startswith(str(line["step"])) else "", style="cyan")
    text.append(line["message"], style=LEVELS.get(line["level"], "default"))
    if trace := line["fields"].get("trace"):
        text.append(f"\n{trace.rstrip()}", style="dim")
    return text


def resume(
    *,
    root: Root = DEFAULT_ROOT,
    attempts: Annotated[int, Parameter(help="A run that crashed so often is left alone.")] = 3,
) -> None:
    """Take runs up again that were killed: same flow, same parameters, going on where they stopped."""
    from codi2_storage.coordination.runs import CRASHED, list_runs
    from codi2_storage.store import Store

    if attempts < 1:
        raise RunError(f"--attempts {attempts}: at least 1")
    if not any(run.status == CRASHED for run in list_runs(Store(root))):
        print("nothing crashed")
        return
    from codi2_flows.resume import resume_crashed

    rows = resume_crashed(root, attempts)
    show(rows, ["run_id", "flow", "attempt", "outcome", "reason"])
    if bad := [row for row in rows if row["outcome"] == "failed"]:
        raise RuntimeError(f"{len(bad)} of {len(rows)} failed again: {bad[0]['reason']}")


def moment(text: str, seconds: bool = False) -> str:
    """A time of UTC as this machine's clock on the wall shows it."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def lasting(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 * 2 else f"{whole / 3600:.1f} h"


def size(count: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} TB"


RUN_COMMANDS = (status, logs, resume)
