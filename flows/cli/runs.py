"""The commands for runs: `status`, `logs`, `resume`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.output.json_output import Json, encoded, print_json
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_server
from codi2_storage.errors import UsageError

COLOURS = {"running": "cyan", "completed": "green", "failed": "red", "crashed": "bold red", "cancelled": "yellow"}
LEVELS = {"warning": "yellow", "error": "red", "critical": "bold red"}


def status(
    *,
    root: Root = DEFAULT_ROOT,
    runs: Annotated[int, Parameter(help="Largest number of ended runs.")] = 10,
    json: Json = False,
) -> None:
    """Show active and ended runs, failures and what to do, the promoted model, schedules and sizes of a root."""
    from codi2_flows.cli.output.status import status as read_status

    current = read_status(root, runs)
    if json:
        print_json(asdict(current))
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    print_table(console, "running", [running_row(run) for run in current.running], "none")
    print_table(console, "ended", [ended_row(run) for run in current.ended], "none yet")
    print_table(console, "needs attention", [trouble_row(run, root) for run in current.troubled], "none")
    for title, rows in (("never started", current.never_started), ("skipped", current.gave_way)):
        if rows:
            print_table(console, title, [unstarted_row(row) for row in rows[:runs]], "")
    print_table(console, "current", current_rows(current), "")
    scheduled = [
        {"flow": row["flow"], "at": local_time(row["at"]), "run": row["name"]} for row in current.scheduled or []
    ]
    print_table(
        console,
        "next",
        scheduled,
        "nothing scheduled" if current.scheduled is not None else "unknown: no Prefect server is configured or answers",
    )
    sizes = [
        {"folder": name, "size": size(total["bytes"]), "files": f"{total['files']:,}"}
        for name, total in current.sizes.items()
    ]
    print_table(console, current.root, sizes, "empty")


def print_table(console: Console, title: str, rows: list[dict[str, Any]], if_empty: str) -> None:
    """Print a table under a title, or `if_empty` beside the title."""
    console.print(Text(title, style="bold"), end="  " if not rows else "\n")
    if not rows:
        console.print(Text(if_empty, style="dim"))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 2), pad_edge=True)
    for name in rows[0]:
        table.add_column(name, overflow="fold", no_wrap=name in ("run", "since", "at", "status"))
    for row in rows:
        table.add_row(*(Text(str(value or ""), style=COLOURS.get(str(value), "")) for value in row.values()))
    console.print(table)


def running_row(run: Any) -> dict[str, Any]:
    left = f", {duration(run.left)} left" if run.left is not None else ""
    return {
        "run": run.run_id, "since": local_time(run.since), "for": duration(run.seconds),
        "heartbeat": f"{duration(run.heartbeat)} ago", "progress": f"{run.progress or 'starting'}{left}",
    }  # fmt: skip


def ended_row(run: Any) -> dict[str, Any]:
    return {
        "run": run.run_id, "status": run.status, "since": local_time(run.since), "took": duration(run.seconds),
        "result": run.reason or (f"build {run.build_id}" if run.build_id else ""),
    }  # fmt: skip


def trouble_row(run: Any, root: str) -> dict[str, Any]:
    remedy = run.remedy or f"codi2 logs {run.run_id} --root {root}"
    return {"run": run.run_id, "status": run.status, "why": run.reason, "do": remedy}


def unstarted_row(row: dict[str, Any]) -> dict[str, Any]:
    return {"flow": row["flow"], "at": local_time(row["at"]), "run": row["name"], "why": row["why"]}


def current_rows(current: Any) -> list[dict[str, Any]]:
    """The promoted model, the latest build and the pins."""
    model, build = current.model, current.build
    model_text = (
        f"{model['checkpoint_id']} since {local_time(model['since'])}: {model['reason']}" if model else "none promoted"
    )
    build_text = (
        f"{build['build_id']} of {build['recipe']}, {build['samples']:,} samples, {local_time(build['created_at'])}"
        if build
        else "none"
    )
    rows = [{"": "model", " ": model_text}, {"": "latest build", " ": build_text}]
    rows += [{"": "pinned", " ": f"{pin['kind']} {pin['target']} {pin['reason']}"} for pin in current.pinned]
    return rows


def logs(
    run: Annotated[
        str | None, Parameter(help="Run: its id, or the first characters of it. Default: the last run.")
    ] = None,
    *,
    root: Root = DEFAULT_ROOT,
    follow: Annotated[bool, Parameter(help="Continue until the run ends.")] = False,
    json: Annotated[Json, Parameter(help="Print each line of the log as a JSON object.")] = False,
) -> None:
    """Print the log of a run: Prefect, progress, Ray workers and training in one stream."""
    from codi2_flows.runtime.logs import read_lines
    from codi2_storage.coordination.runs import get
    from codi2_storage.store import Store

    store = Store(root)
    selected = find(store, run)
    stream = selected.parent or selected.run_id  # a nested run writes to the stream of the outer one
    console = Console(highlight=False, soft_wrap=True)
    position = 0
    while True:
        now = get(store, selected.run_id)
        lines, position = read_lines(store, stream, position)
        for line in lines:
            if stream == selected.run_id or line["run"] == selected.run_id:
                if json:
                    print(encoded(line), flush=True)
                else:
                    console.print(format_line(line), markup=False)
        if not follow or now is None or now.over or dead(store, selected.run_id):
            return
        time.sleep(0.5 if store.is_local else 5.0)


def dead(store: Any, run_id: str) -> bool:
    from codi2_storage.coordination import runs

    return runs.dead(store, run_id) is not None


def find(store: Any, run: str | None) -> Any:
    """The run with this id or id prefix, or the last run. Raises UsageError if there is none, or if several match."""
    from codi2_storage.coordination.runs import list_runs

    matches = list_runs(store)
    if run is not None:
        exact = [candidate for candidate in matches if candidate.run_id == run]
        matches = exact or [candidate for candidate in matches if candidate.run_id.startswith(run)]
    if not matches:
        raise UsageError(f"no run {run!r} under {store.root}" if run else f"no runs under {store.root}")
    if run is not None and len(matches) > 1:
        raise UsageError(f"{len(matches)} runs begin with {run!r}: give more of the id")
    return matches[0]


def format_line(line: dict[str, Any]) -> Text:
    """A log line for the terminal: time, level, step, message and traceback."""
    text = Text(local_time(line["time"], seconds=True), style="dim")
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
    attempts: Annotated[int, Parameter(help="Do not resume a run that crashed this often.")] = 3,
) -> None:
    """Resume killed runs: each continues where it stopped, with the same flow and parameters."""
    from codi2_storage.coordination.runs import CRASHED, list_runs
    from codi2_storage.store import Store

    if attempts < 1:
        raise UsageError(f"--attempts {attempts}: must be at least 1")
    if not any(run.status == CRASHED for run in list_runs(Store(root))):
        print("nothing to resume: no run has crashed")
        return
    start_server()
    from codi2_flows.resume import resume_crashed

    rows = resume_crashed(root, attempts)
    show(rows, ["run_id", "flow", "attempt", "outcome", "reason"])
    if failed := [row for row in rows if row["outcome"] == "failed"]:
        raise RuntimeError(f"{len(failed)} of {len(rows)} runs failed again; the first: {failed[0]['reason']}")


def local_time(text: str, seconds: bool = False) -> str:
    """A UTC timestamp in the local time zone, to the minute or second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def duration(seconds: float | None) -> str:
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
