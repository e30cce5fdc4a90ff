"""`codi2 lineage`: from a model back to the corpora that it was made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.tree import Tree

from codi2_flows.cli.common import DEFAULT_ROOT, Root
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.model_lineage import ModelLineage, Training, model_lineage
from codi2_storage.catalog.provenance import CorpusUse, LicenceUse, Origin, TaskUse

PARENTS = 5  # builds told of those before the one trained on


def lineage(
    checkpoint: Annotated[
        str | None, Parameter(help="Checkpoint id, its first characters, or URI; the model in place if left out.")
    ] = None,
    *,
    root: Root = DEFAULT_ROOT,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Everything as JSON.")] = False,
) -> None:
    """From a model back to its sources: training run, build, tasks, corpora, and the licence of everything in it."""
    found = model_lineage(Catalog(root), checkpoint)
    if json_:
        print(json.dumps(found.to_dict(), default=str, ensure_ascii=False, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)
    console.print(tree(found))


def tree(found: ModelLineage) -> Tree:
    """The lineage as lines that hang on one another; text of the catalog is shown as it is, never as markup."""
    place = ", in place" if found.in_place else ""
    top = Tree(f"model {found.checkpoint['checkpoint_id']}{place}", highlight=False)
    hang(top, "served", [f"{moment(row['since'])}  {row['reason'] or ''}" for row in found.deployments])
    hang(top, "decisions", [decision(gate) for gate in found.gates])
    hang(top, "evaluations", [evaluation(row) for row in found.evaluations])
    if found.answered:
        top.add(f"answered {count(found.answered, 'request')} of batches")
    if not found.trainings:
        top.add("its training is not in this catalog")
    here = top
    for training in found.trainings:
        here = hang_training(here, training)
    hang(top, "licences of everything in it", [licence(use) for use in found.licences])
    return top


def hang(parent: Tree, title: str, lines: Iterable[str]) -> None:
    """A branch of lines, where there are any."""
    if shown := list(lines):
        branch = parent.add(title)
        for line in shown:
            branch.add(line)


def hang_training(parent: Tree, training: Training) -> Tree:
    run = training.run
    branch = parent.add(f"trained by {run['run_id']}, {moment(run['created_at'])}")
    seconds = f", {run['seconds']:,.0f} s" if run["seconds"] is not None else ""
    branch.add(
        f"code {run['code_version'] or '(unknown)'}, seed {run['seed']}, {count(run['workers'] or 1, 'worker')}{seconds}"
    )
    branch.add(f"on {machine(run['environment'])}")
    if run["config"]:
        branch.add(f"config {stages(json.loads(run['config']))}")
    if training.origin is None:
        branch.add(f"on build {run['build_id']}, which is no longer in the catalog")
    else:
        hang_build(branch, training.origin, training.parents)
    return branch.add(f"began with the weights of {run['start']}") if run["start"] else branch


def hang_build(parent: Tree, origin: Origin, parents: list[dict[str, Any]]) -> None:
    build = origin.build
    recipe = f"recipe {build.get('recipe')} ({build.get('recipe_hash')})"
    branch = parent.add(f"on build {build['build_id']}, {recipe}, {moment(build.get('created_at'))}")
    branch.add(
        f"{count(build.get('samples') or 0, 'sample')}, seed {build.get('seed')}, code {build.get('code_version')}"
    )
    before = [
        f"{row['build_id']} {row['recipe']}, {count(row['samples'] or 0, 'sample')}, {moment(row['created_at'])}"
        for row in parents
    ]
    more = [f"... and {len(before) - PARENTS:,} more"] if len(before) > PARENTS else []
    hang(branch, "after", [*before[:PARENTS], *more])
    hang(branch, "tasks", [task(use) for use in origin.tasks])
    hang(branch, "corpora", [corpus(use) for use in origin.corpora])


def task(use: TaskUse) -> str:
    drawn = "" if use.trained else ", not trained on"
    held = f"{use.validation:,} + {use.test:,} held out"
    return f"{use.task}: {count(use.train, 'sample')}, {held}, {count(use.shards, 'shard')} of {use.bytes / 1e6:,.1f} MB{drawn}"


def corpus(use: CorpusUse) -> str:
    works = f"{use.works:,} of {count(use.rows, 'work')} in {count(use.samples, 'sample')}"
    return f"{use.corpus} ({use.licence or 'licence unknown'}): {works}; {use.source}, revision {use.revision}"


def licence(use: LicenceUse) -> str:
    return f"{use.licence or '(unknown)'}: {count(use.works, 'work')}, {count(use.samples, 'sample')}"


def decision(gate: dict[str, Any]) -> str:
    word = "promoted" if gate["promoted"] else "not promoted"
    against = f" against {gate['champion']}" if gate["champion"] else ""
    return f"{moment(gate['created_at'])}  {gate['candidate']}{against}: {word}, {gate['reason']}"


def evaluation(row: dict[str, Any]) -> str:
    figures = {metric["metric"] for metric in row["metrics"]}
    return f"{row['run_id']} on build {row['build_id']}: {count(len(row['metrics']), 'figure')} of {count(len(figures), 'metric')}; {row['uri']}"


def machine(environment: str | None) -> str:
    about = json.loads(environment or "{}")
    torch = about.get("packages", {}).get("torch")
    parts = [f"Python {about['python']}" if "python" in about else "", f"torch {torch}" if torch else ""]
    parts += [str(about.get("system", "")), str(about.get("processor", "")), f"{about.get('cores', '?')} cores"]
    return ", ".join(part for part in parts if part) if about else "an unknown machine"


def stages(config: dict[str, Any]) -> str:
    """A training config in few words: what it starts from and its stages with their steps."""
    steps = [
        f"{name} {part['steps']:,}" for name, part in config.items() if isinstance(part, dict) and part.get("steps")
    ]
    return f"{config.get('preset', '')}: {', '.join(steps)} steps" if steps else str(config.get("preset", ""))


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(stamp: str | None) -> str:
    """A time of the catalog to the second, in UTC."""
    return f"{stamp[:19].replace('T', ' ')} UTC" if stamp else "(no time)"


LINEAGE_COMMANDS = (lineage,)
