"""Retention: which commits stay, and why. It reads the catalog alone; `collector.py` removes the rest.

What stays:
  builds       the newest of each recipe, pinned ones, and those that a kept checkpoint was trained on
  checkpoints  those deployed now or recently, pinned ones, those of runs on builds that are kept for other reasons, and
               those that one of these started from; their runs stay with them
  ingests      those that a kept build depends on
  evaluations  those of a kept checkpoint, or of weights that the catalog does not list, on a kept build
  and every opt-out, deployment, promotion decision, generation, pin and record of a flow
A build that shows works of owners who opted out stays only if it is pinned, a kept model was trained on it, or no later
build has replaced it yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.commit import Commit
from codi2_storage.commits.manifests import read_rows
from codi2_storage.gc.pins import pins

Key = tuple[str, str]  # a commit's kind and id


@dataclass(frozen=True)
class Policy:
    """How much to keep."""

    keep: int = 3
    """Newest builds to keep of each recipe."""
    models: int = 2
    """Models to keep that are or were deployed, the current one first."""
    grace: float = 24 * 3600.0
    """Seconds for which a file that no commit names is left alone: a commit that names it may be under way."""

    def __post_init__(self) -> None:
        if self.keep < 1 or self.models < 1 or self.grace < 0:
            raise ValueError("--keep and --models are at least 1, --grace is not negative")


@dataclass(frozen=True)
class RunCommit:
    """What a commit of kind `run` records of builds and checkpoints."""

    id: str
    build: str | None
    start: str | None
    """The checkpoint that the run started from."""
    made: frozenset[str]
    """Checkpoints that the run made."""
    of_run: str
    """The run that made them; another run if this one only converted its weights."""
    judged: frozenset[str]
    """Checkpoints that the commit holds metrics of and the run did not make."""

    @property
    def training(self) -> bool:
        return bool(self.made) and self.of_run == self.id


def run_commits(catalog: Catalog) -> dict[str, RunCommit]:
    by_id = {}
    for commit in (c for c in catalog.commits if c.kind == "run"):
        recorded = next(rows(catalog, commit, "runs", "build_id", "start"), {})
        weights = list(rows(catalog, commit, "checkpoints", "checkpoint_id", "run_id"))
        made = frozenset(row["checkpoint_id"] for row in weights)
        judged = {row["checkpoint_id"] for row in rows(catalog, commit, "metrics", "checkpoint_id")} - {None, *made}
        of_run = weights[0]["run_id"] if weights else commit.id
        by_id[commit.id] = RunCommit(
            commit.id, recorded.get("build_id"), recorded.get("start"), made, of_run, frozenset(judged)
        )
    return by_id


def rows(catalog: Catalog, commit: Commit, table: str, *columns: str) -> Iterator[dict[str, Any]]:
    files = [file for file in commit.files if file.table == table]
    yield from read_rows(catalog.store, files, columns).to_pylist()


@dataclass(frozen=True)
class Retained:
    """The commits that stay, with reasons worth reporting, and those to remove, with their reasons."""

    stay: frozenset[Key]
    why: dict[Key, str]
    go: dict[Key, str]


def retained(catalog: Catalog, policy: Policy) -> Retained:
    """Sort the catalog's commits into those that stay and those to remove."""
    builds, runs = {commit.id: commit for commit in catalog.builds()}, run_commits(catalog)
    pinned = {(one.kind, one.target): f"pinned{': ' * bool(one.reason)}{one.reason}" for one in pins(catalog)}
    showing = showing_forgotten(catalog)
    chosen = {name: reason for (kind, name), reason in pinned.items() if kind == "checkpoint"}
    for place, name in enumerate(lived(catalog, policy.models)):
        chosen[name] = f"model {name}, which {'is' if place == 0 else 'was'} in place"
    why = {("build", c.id): "among the newest of its recipe" for c in newest(builds.values(), policy.keep, showing)}
    why |= {("build", name): reason for (kind, name), reason in pinned.items() if kind == "build" and name in builds}
    why |= runs_that_stay(runs, chosen, {name for _, name in why})
    for _, name in [key for key in why if key[0] == "run"]:
        if (build := runs[name].build) in builds:
            why.setdefault(("build", str(build)), f"trained on by {why['run', name]}")
    bases = closure(
        {c.id: c.uses for c in catalog.commits if c.kind in ("build", "ingest")},
        [name for kind, name in why if kind == "build"],
    )
    go: dict[Key, str] = {}
    for commit in catalog.commits:
        key = (commit.kind, commit.id)
        if commit.kind == "build" and key not in why:
            old = f"not among the newest {policy.keep} of recipe {commit.info.get('recipe')}"
            go[key] = "shows works whose owners opted out" if commit.id in showing else old
        elif commit.kind == "ingest" and commit.id not in bases:
            go[key] = "no kept build depends on it"
        elif commit.kind == "run" and (reason := needless(runs[commit.id], runs, why, chosen)):
            go[key] = reason
    return Retained(frozenset((c.kind, c.id) for c in catalog.commits) - go.keys(), why, go)


def newest(builds: Iterable[Commit], keep: int, showing: Collection[str]) -> list[Commit]:
    """The last `keep` builds of each recipe; `builds` in order of time.

    Builds that show opted-out works do not count, except for the very last one, which has no replacement yet.
    """
    by_recipe: dict[str, list[Commit]] = {}
    for commit in builds:
        by_recipe.setdefault(commit.info.get("recipe", ""), []).append(commit)
    kept = []
    for of_recipe in by_recipe.values():
        kept += [commit for commit in of_recipe if commit.id not in showing][-keep:]
        if of_recipe[-1].id in showing:
            kept.append(of_recipe[-1])
    return kept


def lived(catalog: Catalog, models: int) -> list[str]:
    """The checkpoints that are or were deployed: the last `models` of each deployment name, latest first."""
    with catalog.connect(tables=["deployments"]) as connection:
        rows = connection.execute(
            """select name, checkpoint_id, max(since) as last from deployments group by name, checkpoint_id
               qualify row_number() over (partition by name order by last desc, checkpoint_id) <= ?
               order by last desc, checkpoint_id""",
            [models],
        ).fetchall()
    return list(dict.fromkeys(checkpoint for _, checkpoint, _ in rows))


def showing_forgotten(catalog: Catalog) -> set[str]:
    """Builds that hold works whose owners opted out, or assets derived from such works."""
    opted_out = [commit.id for commit in catalog.commits if commit.kind == "forget"]
    ids = set()
    for build in catalog.builds() if opted_out else ():
        with catalog.connect(only=[build.id, *opted_out], tables=["assets", "forgotten"]) as connection:
            shown = connection.execute(
                """with gone as (select asset_id from forgotten where asset_id is not null)
                   select 1 from assets where asset_id in (from gone)
                   or list_has_any(coalesce(inputs, []), (select list(asset_id) from gone)) limit 1"""
            ).fetchone()
            ids |= {build.id} if shown else set()
    return ids


def runs_that_stay(runs: dict[str, RunCommit], chosen: dict[str, str], builds: set[str]) -> dict[Key, str]:
    """Training runs to keep: of chosen checkpoints, on kept builds, and those that one of these started from."""
    makers: dict[str, list[str]] = {}
    for run in runs.values():
        for checkpoint in run.made:
            makers.setdefault(checkpoint, []).append(run.of_run)
    why: dict[Key, str] = {}
    for checkpoint, reason in chosen.items():
        why |= {("run", name): reason for name in makers.get(checkpoint, ()) if name in runs}
    for run in runs.values():
        if run.training and (run.build is None or run.build in builds):
            why.setdefault(("run", run.id), "a run on a build that stays")
    for _, name in list(why):
        for other in makers.get(runs[name].start or "", ()):
            if other in runs:
                why.setdefault(("run", other), f"run {name}, which began with its weights")
    return why


def needless(run: RunCommit, runs: dict[str, RunCommit], why: dict[Key, str], chosen: dict[str, str]) -> str:
    """Why a commit of kind `run` can be removed; '' if it stays."""
    if run.made:
        made_by_one_that_stays = ("run", run.of_run) in why or bool(run.made & chosen.keys())
        return "" if made_by_one_that_stays else "its build is deleted and its model is not deployed"
    if run.judged:
        known = {name: other.of_run for other in runs.values() for name in other.made}
        here = [("run", known[name]) in why for name in run.judged if name in known]
        stays = any(here) if here else run.build is None or ("build", run.build) in why
        return "" if stays else "evaluation of a deleted checkpoint"
    return ""


def closure(stands_on: Mapping[str, Collection[str]], names: Iterable[str]) -> set[str]:
    """The names with everything that they depend on, directly or indirectly."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += stands_on.get(name, ())
    return reached
