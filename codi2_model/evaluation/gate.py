"""Is a candidate better than the champion? Both are scored on the same held-out samples, and compared in pairs.

A chosen metric passes where the interval of the paired gain lies above 0; a guarded one where it does not lie below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codi2_datasets.identity import digest
from codi2_model.checkpoints import UsageError, now
from codi2_model.evaluation.bench.measures import MEASURES, direction
from codi2_model.evaluation.statistics import paired_gain
from codi2_storage.catalog import Catalog
from codi2_storage.manifests import Writer
from codi2_storage.store import Store

CHOSEN, GUARD = "chosen", "guard"


@dataclass(frozen=True)
class Gate:
    """What decides. A metric is a name (all tasks together) or task:name; `limit` held-out samples a task."""

    metrics: tuple[str, ...] = ("feature_top1",)
    guards: tuple[str, ...] = ("answered", "concept_top1", "target_similarity", "token_f1")
    limit: int = 24
    seed: int = 0
    resamples: int = 2000


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


@dataclass(frozen=True)
class Decision:
    gate_id: str
    promoted: bool
    reason: str
    lines: tuple[Line, ...] = ()


def compare(store: Store, gate: Gate, candidate_run: str, champion_run: str) -> tuple[Line, ...]:
    """The two evaluations metric by metric, over the samples that both scored.

    A guarded metric that neither has is left out (a dataset without sounds has no scores of sounds). Raises UsageError
    where a chosen metric has no pairs.
    """
    catalog = Catalog(store)
    lines = []
    for role, names in ((CHOSEN, gate.metrics), (GUARD, gate.guards)):
        for name in names:
            found = pairs(catalog, name, candidate_run, champion_run)
            if found:
                lines.append(line(role, name, found, gate))
            elif role == CHOSEN:
                raise UsageError(f"--metric {name}: {missing(catalog, candidate_run, champion_run)}")
    return tuple(lines)


def pairs(catalog: Catalog, name: str, candidate_run: str, champion_run: str) -> list[tuple[float, float]]:
    """(candidate, champion) of every sample; one that was scored more than once counts with its mean."""
    task, _, metric = name.rpartition(":")
    query = """with means as (select run_id, task, sample_id, avg(value) as value from scores
                              where metric = ? and (? = '' or task = ?) group by all)
               select a.value as candidate, b.value as champion from means a join means b using (task, sample_id)
               where a.run_id = ? and b.run_id = ? order by task, sample_id"""
    rows = catalog.sql(query, [metric, task, task, candidate_run, champion_run]).to_pylist()
    return [(row["candidate"], row["champion"]) for row in rows]


def missing(catalog: Catalog, *runs: str) -> str:
    rows = catalog.sql("select distinct metric from scores where run_id in (?, ?) order by metric", list(runs))
    known = ", ".join(row["metric"] for row in rows.to_pylist())
    return f"no sample has it from both models; scored: {known or 'none'}"


def line(role: str, name: str, found: Sequence[tuple[float, float]], gate: Gate) -> Line:
    candidate, champion = [a for a, _ in found], [b for _, b in found]
    metric = name.rpartition(":")[2]
    sign = direction(metric) if metric in MEASURES else 1
    gain = paired_gain([sign * a for a in candidate], [sign * b for b in champion], gate.seed, gate.resamples)
    passed = gain.low > 0 if role == CHOSEN else gain.high >= 0
    means = sum(candidate) / len(found), sum(champion) / len(found)
    return Line(role, name, *means, gain.value, gain.low, gain.high, gain.n, passed)


def decide(
    store: Store, gate: Gate, build_id: str, candidate: str, champion: str | None, runs: tuple[str, str | None]
) -> Decision:
    """Compare and say what follows. `candidate` and `champion` are checkpoint ids, `runs` their evaluations.

    The same two models on the same build under the same gate get the same id and the same decision.
    """
    gate_id = "gate-" + digest([asdict(gate), build_id, candidate, champion])[:16]
    if champion is None or runs[1] is None:
        return Decision(gate_id, True, "the first model")
    lines = compare(store, gate, runs[0], runs[1])
    if worse := [line for line in lines if not line.passed and line.role == GUARD]:
        return Decision(gate_id, False, f"{told(worse)}: a guarded metric fell", lines)
    if unproven := [line for line in lines if not line.passed]:
        return Decision(gate_id, False, f"{told(unproven)}: not better than {champion}", lines)
    return Decision(gate_id, True, f"{told([x for x in lines if x.role == CHOSEN])}: better than {champion}", lines)


def told(lines: Sequence[Line]) -> str:
    return "; ".join(
        f"{x.metric} {x.candidate_value:.3f} against {x.champion_value:.3f} ({x.gain:+.3f}, {x.low:+.3f} to {x.high:+.3f})"
        for x in lines
    )


def record(store: Store, decision: Decision, build_id: str, candidate: str, champion: str | None) -> None:
    """Put the decision into the catalog; the same again replaces it."""
    about: dict[str, Any] = {"gate_id": decision.gate_id, "build_id": build_id, "candidate": candidate}
    about |= {"champion": champion, "promoted": decision.promoted, "reason": decision.reason, "created_at": now()}
    rows = [{**about, **asdict(line)} for line in decision.lines] or [{**about, "passed": True}]
    with Writer(store, decision.gate_id, "gate") as writer:
        writer.append("gates", rows)
