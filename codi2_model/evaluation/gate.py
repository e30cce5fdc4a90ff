"""Promotion gate: compare a candidate with the champion in pairs, on the same held-out samples.

A chosen metric passes if the interval of the paired gain is above 0 and enough samples differ. A guarded metric passes unless
the interval is below 0. Equal models are never promoted. Samples on which one of the models was trained are excluded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_model.checkpoints.registry import now
from codi2_model.evaluation.bench.measures import HEADLINE, MEASURES, SETS, direction
from codi2_model.evaluation.bench.profiles import PROFILES, QUICK
from codi2_model.evaluation.bench.recorded import recorded_runs
from codi2_model.evaluation.contamination import NO_CONTAMINATION, Contamination
from codi2_model.evaluation.statistics import paired_gain
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.errors import UsageError
from codi2_storage.store import Store

CHOSEN, GUARD = "chosen", "guard"
KNOWN = tuple(name for name in MEASURES if name not in (*SETS, "style@1"))  # with scores per sample in the suite quick
GUARDS = ("answered", "concept@1", "similarity", "token_f1")
NO_GUARD = "none"
MIN_DIFFERING = 6  # differing samples needed: a chance of 1 in 64 (below 2.5 %) that all favour one of two equal models


@dataclass(frozen=True)
class Gate:
    """Options of the gate.

    metrics, guards: a name (over all tasks) or task:name. Without metrics, the first of HEADLINE with scores decides.
    limit: held-out samples per task that both models answer at least.
    """

    metrics: tuple[str, ...] = ()
    guards: tuple[str, ...] = GUARDS
    limit: int = PROFILES[QUICK].limit
    seed: int = 0
    resamples: int = 2000

    @classmethod
    def of(cls, metrics: Sequence[str] | None, guards: Sequence[str] | None, limit: int | None) -> Gate:
        """A gate from command line options; None or empty: the defaults."""
        default = cls()
        chosen_guards = tuple(name for name in guards or default.guards if name not in (NO_GUARD, *(metrics or ())))
        return cls(tuple(metrics or ()), chosen_guards, default.limit if limit is None else limit)

    def check(self, tasks: Collection[str]) -> None:
        """Raise UsageError unless a dataset of these tasks can have scores of every metric."""
        if self.limit < 1:
            raise UsageError(f"--gate-samples {self.limit}: must be at least 1")
        for option, names in (("--metric", self.metrics), ("--guard", self.guards)):
            for name in names:
                task, _, metric = name.rpartition(":")
                if metric not in KNOWN:
                    raise UsageError(f"{option} {name}: no such metric; available: {', '.join(KNOWN)}")
                if task and task not in tasks:
                    raise UsageError(
                        f"{option} {name}: the recipe has no task {task}; available: {', '.join(sorted(tasks))}"
                    )


@dataclass(frozen=True)
class Line:
    """A metric of a comparison: means, and the candidate's paired gain with its 95 % interval (above 0: better)."""

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
    """Number of samples on which the scores of the two models differ."""

    def describe(self) -> str:
        """The comparison in words."""
        means = f"{self.metric} {self.candidate_value:.3f} against {self.champion_value:.3f}"
        few = f", only {self.differing} samples differ" if 0 < self.differing < MIN_DIFFERING else ""
        return f"{means} ({self.gain:+.3f}, {self.low:+.3f} to {self.high:+.3f}{few})"

    def verdict(self) -> str:
        """The result in one or two words."""
        if self.role == GUARD:
            return "holds" if self.passed else "fell"
        return "better" if self.passed else "not better"


@dataclass(frozen=True)
class Decision:
    """Result of the gate: whether to promote the candidate, why, and the comparison."""

    gate_id: str
    promoted: bool
    reason: str
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes on the comparison: excluded samples, missing builds."""

    def rejected(self, reason: str) -> Decision:
        """The same comparison, not promoted for another reason."""
        return replace(self, promoted=False, reason=f"{reason} ({self.reason})")

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and cells of a table with a row per metric."""
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
    store: Store,
    gate: Gate,
    build_id: str,
    candidate: str,
    champion: str,
    contamination: Contamination = NO_CONTAMINATION,
) -> tuple[Line, ...]:
    """Compare the recorded evaluations of two models metric by metric, over the samples scored in both.

    Contaminated samples are left out. Guarded metrics without pairs are skipped (such as audio metrics of a dataset without
    audio). Raises UsageError if a chosen metric has no pairs.
    """
    catalog = Catalog(store)
    runs = [run.run_id for model in (candidate, champion) for run in recorded_runs(catalog, model, build_id, gate.seed)]

    def paired(name: str) -> list[tuple[float, float]]:
        return pairs(catalog, name, runs, candidate, champion, contamination.samples)

    chosen = gate.metrics or (next(filter(paired, HEADLINE), HEADLINE[0]),)
    lines = []
    for role, names in ((CHOSEN, chosen), (GUARD, [name for name in gate.guards if name not in chosen])):
        for name in names:
            scores = paired(name)
            if scores:
                lines.append(compare_metric(role, name, scores, gate))
            elif role == CHOSEN:
                raise UsageError(f"{name}: {missing_scores(catalog, runs)}")
    return tuple(lines)


def pairs(
    catalog: Catalog, name: str, runs: Sequence[str], candidate: str, champion: str, without: Collection[str] = ()
) -> list[tuple[float, float]]:
    """(candidate score, champion score) of every sample; the mean over its modalities if a sample has several scores."""
    task, _, metric = name.rpartition(":")
    query = """with means as (select checkpoint_id, task, sample_id, avg(value) as value from scores
                              where list_contains(?, run_id) and split_part(metric, ':', -1) = ?
                                    and (? = '' or task = ?) group by all)
               select sample_id, a.value as candidate, b.value as champion
               from means a join means b using (task, sample_id)
               where a.checkpoint_id = ? and b.checkpoint_id = ? order by task, sample_id"""
    rows = catalog.sql(query, [list(runs), metric, task, task, candidate, champion]).to_pylist()
    return [(row["candidate"], row["champion"]) for row in rows if row["sample_id"] not in without]


def missing_scores(catalog: Catalog, runs: Sequence[str]) -> str:
    """Message for a metric without pairs: lists the metrics that have scores."""
    query = (
        "select distinct split_part(metric, ':', -1) as metric from scores where list_contains(?, run_id) order by 1"
    )
    available = ", ".join(row["metric"] for row in catalog.sql(query, [list(runs)]).to_pylist())
    return f"no sample has this metric for both models; available: {available or 'none'}"


def compare_metric(role: str, name: str, scores: Sequence[tuple[float, float]], gate: Gate) -> Line:
    """Compare (candidate, champion) scores of one metric."""
    candidate, champion = [a for a, _ in scores], [b for _, b in scores]
    sign = direction(name.rpartition(":")[2])
    gain = paired_gain([sign * a for a in candidate], [sign * b for b in champion], gate.seed, gate.resamples)
    differing = sum(a != b for a, b in scores)
    passed = gain.low > 0 and differing >= MIN_DIFFERING if role == CHOSEN else gain.high >= 0
    means = sum(candidate) / len(scores), sum(champion) / len(scores)
    return Line(role, name, *means, gain.value, gain.low, gain.high, gain.n, passed, differing)


def decide(
    store: Store,
    gate: Gate,
    build_id: str,
    candidate: str,
    champion: str | None,
    contamination: Contamination = NO_CONTAMINATION,
) -> Decision:
    """Decide whether to promote a candidate. candidate, champion: ids of checkpoints that were evaluated on the build.

    Equal models, build and gate give the same id. Without a champion the candidate is promoted.
    """
    gate_id = "gate-" + digest([asdict(gate), build_id, candidate, champion])[:16]
    if champion is None:
        return Decision(gate_id, True, "the first model")
    try:
        lines = compare(store, gate, build_id, candidate, champion, contamination)
    except UsageError as error:  # reported as a decision, so that the trained candidate is kept
        reason = f"cannot be compared with {champion}: {error}"
        return Decision(gate_id, False, reason, notes=contamination.notes())
    if worse := [line for line in lines if not line.passed and line.role == GUARD]:
        promoted, reason = False, f"{describe(worse)}: a guarded metric fell"
    elif unproven := [line for line in lines if not line.passed]:
        promoted, reason = False, f"{describe(unproven)}: not better than {champion}"
    else:
        promoted, reason = True, f"{describe([x for x in lines if x.role == CHOSEN])}: better than {champion}"
    return Decision(gate_id, promoted, "; ".join([reason, *contamination.notes()]), lines, contamination.notes())


def describe(lines: Sequence[Line]) -> str:
    """Several metrics in words."""
    return "; ".join(line.describe() for line in lines)


def record(store: Store, decision: Decision, build_id: str, candidate: str, champion: str | None) -> None:
    """Record a decision in the catalog; recording it again replaces it."""
    common: dict[str, Any] = {"gate_id": decision.gate_id, "build_id": build_id, "candidate": candidate}
    common |= {"champion": champion, "promoted": decision.promoted, "reason": decision.reason, "created_at": now()}
    rows = [{**common, **asdict(line)} for line in decision.lines] or [{**common, "passed": decision.promoted}]
    for row in rows:
        row.pop("differing", None)
    with Writer(store, decision.gate_id, "gate") as writer:
        writer.append("gates", rows)
