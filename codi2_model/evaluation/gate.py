"""Is a candidate better than the champion? Both are scored on the same held-out samples, and compared in pairs.

A chosen metric passes where the interval of the paired gain lies above 0 and enough samples tell the two apart; a guarded one
where it does not lie below 0. Equal models are never promoted. Samples that a model has trained on are no pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.registry import UsageError, now
from codi2_model.evaluation.bench.measures import MEASURES, direction
from codi2_model.evaluation.contamination import NOTHING, Learnt
from codi2_model.evaluation.metric_names import ANSWERED, CONCEPT, EDIT, RETRIEVAL_TASKS, SIMILARITY, STYLE, TOP1
from codi2_model.evaluation.statistics import paired_gain
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

CHOSEN, GUARD = "chosen", "guard"
KNOWN = (TOP1, CONCEPT, STYLE, EDIT, SIMILARITY, ANSWERED, "token_f1", "exact_match")
GUARDS = (ANSWERED, CONCEPT, SIMILARITY, "token_f1")
USUAL = (TOP1, SIMILARITY, "token_f1")  # what decides where nothing is chosen: the first that the samples have
NO_GUARD = "none"
ENOUGH = 6  # samples that differ: were they all for one model by luck alone, that had a chance of 1 in 64, below 2.5 %


@dataclass(frozen=True)
class Gate:
    """What decides. A metric is a name (all tasks together) or task:name; none at all: the first of `USUAL` that the samples
    have. `limit` held-out samples a task."""

    metrics: tuple[str, ...] = ()
    guards: tuple[str, ...] = GUARDS
    limit: int = 24
    seed: int = 0
    resamples: int = 2000

    @classmethod
    def of(cls, metrics: Sequence[str] | None, guards: Sequence[str] | None, limit: int | None) -> Gate:
        """From what was given on the command line; None or nothing at all: as usual."""
        usual = cls()
        kept = tuple(name for name in guards or usual.guards if name not in (NO_GUARD, *(metrics or ())))
        return cls(tuple(metrics or ()), kept, usual.limit if limit is None else limit)

    def check(self, tasks: Collection[str]) -> None:
        """Raise UsageError unless a dataset of these tasks can have every metric."""
        if self.limit < 1:
            raise UsageError(f"--gate-samples {self.limit}: at least 1 is wanted")
        for option, names in (("--metric", self.metrics), ("--guard", self.guards)):
            for name in names:
                task, _, metric = name.rpartition(":")
                if metric not in KNOWN:
                    raise UsageError(f"{option} {name}: no such metric; known: {', '.join(KNOWN)}")
                if task and task not in tasks:
                    raise UsageError(f"{option} {name}: the recipe has no task {task}: {', '.join(sorted(tasks))}")
                measured = [one for one in RETRIEVAL_TASKS if one in tasks and task in ("", one)]
                if metric == TOP1 and not measured:
                    where = ", ".join(RETRIEVAL_TASKS)
                    raise UsageError(f"{option} {name}: it is measured on {where} alone: choose another {option}")


@dataclass(frozen=True)
class Line:
    """One metric of a comparison: means, and the candidate's paired gain with its 95 % interval (above 0: better)."""

    role: str
    metric: str
    candidate_value: float
    champion_value: float
    gain: float
    low: float
    high: float
    n: int
    passed: bool
    differing: int = 0
    """Of the n samples those on which the two models' scores are not equal."""

    def told(self) -> str:
        means = f"{self.metric} {self.candidate_value:.3f} against {self.champion_value:.3f}"
        few = f" in {self.differing} samples that differ" if 0 < self.differing < ENOUGH else ""
        return f"{means} ({self.gain:+.3f}, {self.low:+.3f} to {self.high:+.3f}{few})"

    def verdict(self) -> str:
        if self.role == GUARD:
            return "holds" if self.passed else "fell"
        return "better" if self.passed else "not better"


@dataclass(frozen=True)
class Decision:
    gate_id: str
    promoted: bool
    reason: str
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    """What else is to be known of the comparison: samples that were left out, builds that are gone."""

    def held(self, why: str) -> Decision:
        """The same comparison, but not promoted all the same."""
        return replace(self, promoted=False, reason=f"{why} ({self.reason})")

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and cells for people, a row for each metric."""
        columns = ["role", "metric", "candidate", "champion", "gain", "95 %", "n", "differ", "verdict"]
        cells = [
            [
                x.role, x.metric, f"{x.candidate_value:.3f}", f"{x.champion_value:.3f}", f"{x.gain:+.3f}",
                f"{x.low:+.3f} to {x.high:+.3f}", str(x.n), str(x.differing), x.verdict(),
            ]
            for x in self.lines
        ]  # fmt: skip
        return columns, cells


def compare(
    store: Store, gate: Gate, candidate_run: str, champion_run: str, learnt: Learnt = NOTHING
) -> tuple[Line, ...]:
    """The two evaluations metric by metric, over the samples that both scored and none has learnt.

    A guarded metric that neither has is left out (a dataset without sounds has no scores of sounds). Raises UsageError
    where a chosen metric has no pairs.
    """
    catalog = Catalog(store)

    def paired(name: str) -> list[tuple[float, float]]:
        return pairs(catalog, name, candidate_run, champion_run, learnt.samples)

    chosen = gate.metrics or (next(filter(paired, USUAL), TOP1),)
    lines = []
    for role, names in ((CHOSEN, chosen), (GUARD, gate.guards)):
        for name in names:
            found = paired(name)
            if found:
                lines.append(line(role, name, found, gate))
            elif role == CHOSEN:
                raise UsageError(f"{name}: {missing(catalog, candidate_run, champion_run)}")
    return tuple(lines)


def pairs(
    catalog: Catalog, name: str, candidate_run: str, champion_run: str, without: Collection[str] = ()
) -> list[tuple[float, float]]:
    """(candidate, champion) of every sample; one that was scored more than once counts with its mean."""
    task, _, metric = name.rpartition(":")
    query = """with means as (select run_id, task, sample_id, avg(value) as value from scores
                              where metric = ? and (? = '' or task = ?) group by all)
               select sample_id, a.value as candidate, b.value as champion
               from means a join means b using (task, sample_id)
               where a.run_id = ? and b.run_id = ? order by task, sample_id"""
    rows = catalog.sql(query, [metric, task, task, candidate_run, champion_run]).to_pylist()
    return [(row["candidate"], row["champion"]) for row in rows if row["sample_id"] not in without]


def missing(catalog: Catalog, *runs: str) -> str:
    rows = catalog.sql("select distinct metric from scores where run_id in (?, ?) order by metric", list(runs))
    known = ", ".join(row["metric"] for row in rows.to_pylist())
    return f"no sample has it from both models; scored: {known or 'none'}"


def line(role: str, name: str, found: Sequence[tuple[float, float]], gate: Gate) -> Line:
    candidate, champion = [a for a, _ in found], [b for _, b in found]
    metric = name.rpartition(":")[2]
    sign = direction(metric) if metric in MEASURES else 1
    gain = paired_gain([sign * a for a in candidate], [sign * b for b in champion], gate.seed, gate.resamples)
    differing = sum(a != b for a, b in found)
    passed = gain.low > 0 and differing >= ENOUGH if role == CHOSEN else gain.high >= 0
    means = sum(candidate) / len(found), sum(champion) / len(found)
    return Line(role, name, *means, gain.value, gain.low, gain.high, gain.n, passed, differing)


def decide(
    store: Store,
    gate: Gate,
    build_id: str,
    candidate: str,
    champion: str | None,
    runs: tuple[str, str | None],
    learnt: Learnt = NOTHING,
) -> Decision:
    """Compare and say what follows. `candidate` and `champion` are checkpoint ids, `runs` their evaluations.

    The same two models on the same build under the same gate get the same id and the same decision.
    """
    gate_id = "gate-" + digest([asdict(gate), build_id, candidate, champion])[:16]
    if champion is None or runs[1] is None:
        return Decision(gate_id, True, "the first model")
    try:
        lines = compare(store, gate, runs[0], runs[1], learnt)
    except UsageError as error:  # what was trained for hours is not lost for it
        return Decision(gate_id, False, f"nothing to compare with {champion} by: {error}", notes=learnt.notes())
    if worse := [line for line in lines if not line.passed and line.role == GUARD]:
        promoted, why = False, f"{told(worse)}: a guarded metric fell"
    elif unproven := [line for line in lines if not line.passed]:
        promoted, why = False, f"{told(unproven)}: not better than {champion}"
    else:
        promoted, why = True, f"{told([x for x in lines if x.role == CHOSEN])}: better than {champion}"
    return Decision(gate_id, promoted, "; ".join([why, *learnt.notes()]), lines, learnt.notes())


def told(lines: Sequence[Line]) -> str:
    return "; ".join(line.told() for line in lines)


def record(store: Store, decision: Decision, build_id: str, candidate: str, champion: str | None) -> None:
    """Put the decision into the catalog; the same again replaces it."""
    about: dict[str, Any] = {"gate_id": decision.gate_id, "build_id": build_id, "candidate": candidate}
    about |= {"champion": champion, "promoted": decision.promoted, "reason": decision.reason, "created_at": now()}
    rows = [{**about, **asdict(line)} for line in decision.lines] or [{**about, "passed": decision.promoted}]
    for row in rows:
        row.pop("differing", None)
    with Writer(store, decision.gate_id, "gate") as writer:
        writer.append("gates", rows)
