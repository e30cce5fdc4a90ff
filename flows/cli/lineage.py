"""The command `lineage`: traces a model back to the corpora it was trained on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from json import loads
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.tree import Tree

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_flows.cli.output.json_output import Json, print_json
from codi2_model.checkpoints.lineage import ModelLineage, Training, model_lineage
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.provenance import BuildContents, CorpusUse, LicenceUse, TaskUse

PARENTS = 5  # earlier builds that are listed


def lineage(
    checkpoint: Annotated[
        str | None,
        Parameter(help="Checkpoint: its id, the first characters of it, or its URI. Default: the promoted model."),
    ] = None,
    *,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Trace a model back to its sources: training run, build, tasks, corpora and licences."""
    result = model_lineage(Catalog(root), checkpoint)
    if json:
        print_json(result.to_dict())
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)
    console.print(tree(result))


def tree(result: ModelLineage) -> Tree:
    """The lineage as a tree. Print it without markup, because it contains text of the catalog."""
    promoted = ", promoted" if result.in_place else ""
    top = Tree(f"model {result.checkpoint['checkpoint_id']}{promoted}", highlight=False)
    add_branch(top, "served", [f"{format_time(row['since'])}  {row['reason'] or ''}" for row in result.deployments])
    add_branch(top, "decisions", [decision(gate) for gate in result.gates])
    add_branch(top, "evaluations", [evaluation(row) for row in result.evaluations])
    if result.answered:
        top.add(f"answered {count(result.answered, 'request')} of batches")
    if not result.trainings:
        top.add("its training run is not in this catalog")
    branch = top
    for training in result.trainings:
        branch = add_training(branch, training)
    add_branch(top, "licences of all sources", [licence(use) for use in result.licences])
    return top


def add_branch(parent: Tree, title: str, lines: Iterable[str]) -> None:
    """Add a branch with the lines, unless there are none."""
    if rows := list(lines):
        branch = parent.add(title)
        for row in rows:
            branch.add(row)


def add_training(parent: Tree, training: Training) -> Tree:
    run = training.run
    branch = parent.add(f"trained by {run['run_id']}, {format_time(run['created_at'])}")
    seconds = f", {run['seconds']:,.0f} s" if run["seconds"] is not None else ""
    branch.add(
        f"code {run['code_version'] or '(unknown)'}, seed {run['seed']}, {count(run['workers'] or 1, 'worker')}{seconds}"
    )
    branch.add(f"on {machine(run['environment'])}")
    if run["config"]:
        branch.add(f"config {stages(loads(run['config']))}")
    if training.origin is None:
        branch.add(f"on build {run['build_id']}, which is no longer in the catalog")
    else:
        add_build(branch, training.origin, training.parents)
    return branch.add(f"initial weights: {run['start']}") if run["start"] else branch


def add_build(parent: Tree, origin: BuildContents, parents: list[dict[str, Any]]) -> None:
    build = origin.build
    recipe = f"recipe {build.get('recipe')} ({build.get('recipe_hash')})"
    branch = parent.add(f"on build {build['build_id']}, {recipe}, {format_time(build.get('created_at'))}")
    branch.add(
        f"{count(build.get('samples') or 0, 'sample')}, seed {build.get('seed')}, code {build.get('code_version')}"
    )
    earlier = [
        f"{row['build_id']} {row['recipe']}, {count(row['samples'] or 0, 'sample')}, {format_time(row['created_at'])}"
        for row in parents
    ]
    more = [f"... and {len(earlier) - PARENTS:,} more"] if len(earlier) > PARENTS else []
    add_branch(branch, "earlier builds", [*earlier[:PARENTS], *more])
    add_branch(branch, "tasks", [task(use) for use in origin.tasks])
    add_branch(branch, "corpora", [corpus(use) for use in origin.corpora])


def task(use: TaskUse) -> str:
    untrained = "" if use.trained else ", not trained on"
    held_out = f"{use.validation:,} + {use.test:,} held out"
    size = f"{count(use.shards, 'shard')} of {use.bytes / 1e6:,.1f} MB"
    return f"{use.task}: {count(use.train, 'sample')}, {held_out}, {size}{untrained}"


def corpus(use: CorpusUse) -> str:
    works = f"{use.works:,} of {count(use.rows, 'work')} in {count(use.samples, 'sample')}"
    return f"{use.corpus} ({use.licence or 'licence unknown'}): {works}; {use.source}, revision {use.revision}"


def licence(use: LicenceUse) -> str:
    return f"{use.licence or '(unknown)'}: {count(use.works, 'work')}, {count(use.samples, 'sample')}"


def decision(gate: dict[str, Any]) -> str:
    outcome = "promoted" if gate["promoted"] else "not promoted"
    champion = f" against {gate['champion']}" if gate["champion"] else ""
    return f"{format_time(gate['created_at'])}  {gate['candidate']}{champion}: {outcome}, {gate['reason']}"


def evaluation(row: dict[str, Any]) -> str:
    metrics = {metric["metric"] for metric in row["metrics"]}
    values = f"{count(len(row['metrics']), 'value')} of {count(len(metrics), 'metric')}"
    return f"{row['run_id']} on build {row['build_id']}: {values}; {row['uri']}"


def machine(environment: str | None) -> str:
    fields = loads(environment or "{}")
    torch = fields.get("packages", {}).get("torch")
    parts = [f"Python {fields['python']}" if "python" in fields else "", f"torch {torch}" if torch else ""]
    parts += [str(fields.get("system", "")), str(fields.get("processor", "")), f"{fields.get('cores', '?')} cores"]
    return ", ".join(part for part in parts if part) if fields else "an unknown machine"


def stages(config: dict[str, Any]) -> str:
    """A summary of a training config: its preset, and its stages with their steps."""
    steps = [
        f"{name} {part['steps']:,}" for name, part in config.items() if isinstance(part, dict) and part.get("steps")
    ]
    return f"{config.get('preset', '')}: {', '.join(steps)} steps" if steps else str(config.get("preset", ""))


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_time(stamp: str | None) -> str:
    """A timestamp of the catalog, in UTC, to the second."""
    return f"{stamp[:19].replace('T', ' ')} UTC" if stamp else "(no time)"


LINEAGE_COMMANDS = (lineage,)
