"""Scores of the replies of batch generation: each against the true reply of the sample that it was asked for.

Rows of `scores` with the suite `generations` and the reply's own sample id: `codi2 export --format dpo` makes pairs of them.
"""

from __future__ import annotations

import json
from collections import defaultdict

from codi2_datasets.exports.generated import GeneratedReply, replies_to
from codi2_datasets.formats.hashing import digest
from codi2_model.evaluation.bench.candidate_sets import Choices
from codi2_model.evaluation.bench.embedding import Embedder
from codi2_model.evaluation.bench.questions import answer_in, questions_of
from codi2_model.evaluation.bench.scoring import MODEL, score
from codi2_model.evaluation.data import EvaluationError, LoadedSample, SampleRow, load_samples
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.manifests import Writer
from codi2_storage.store import Store

SUITE = "generations"


def score_generations(root: str | Store, build: str | None = None) -> int:
    """Score every reply to a request that is a sample of a build (None: the latest). Returns their number."""
    store = root if isinstance(root, Store) else Store(root)
    catalog = Catalog(store)
    build_id = catalog.named(build)
    replies = replies_to(catalog, build_id) if build_id else []
    if build_id is None or not replies:
        raise EvaluationError(f"no replies to samples of build {build_id} under {store.root}: generate from its shards")
    truths = load_samples(store, true_rows(catalog, build_id, replies))
    batches: dict[tuple[str, str], list[GeneratedReply]] = defaultdict(list)
    for reply in replies:
        batches[reply.folder, reply.checkpoint_id].append(reply)
    embedder, rows = Embedder(), []
    for (folder, checkpoint), batch in batches.items():
        rows += [{"checkpoint_id": checkpoint, **row} for row in score_batch(Store(folder), batch, truths, embedder)]
    run_id = f"score-{digest([build_id, sorted(reply.sample_id for reply in replies)])[:16]}"
    with Writer(store, run_id, "generation") as writer:
        writer.append("scores", [{"run_id": run_id, "suite": SUITE, **row} for row in rows])
    return len(replies)


def true_rows(catalog: Catalog, build: str, replies: list[GeneratedReply]) -> list[SampleRow]:
    """The samples that were asked for."""
    table = catalog.sql(
        """select sample_id, task, split, coalesce(holdout, '') as holdout, shard, meta from samples
           where list_contains(?, sample_id) order by sample_id""",
        [sorted({reply.request_id for reply in replies})],
        build=build,
    )
    return [SampleRow(**{**row, "meta": json.loads(row["meta"] or "{}")}) for row in table.to_pylist()]


def score_batch(
    folder: Store, batch: list[GeneratedReply], truths: dict[str, LoadedSample], embedder: Embedder
) -> list[dict[str, object]]:
    """Rows of `scores` for the replies of one batch, which has one reply to a request."""
    asked = {reply.request_id: truths[reply.request_id].row for reply in batch}
    own = [SampleRow(r.sample_id, asked[r.request_id].task, asked[r.request_id].split, "", r.shard) for r in batch]
    loaded = load_samples(folder, own)
    by_request = {reply.request_id: loaded[reply.sample_id] for reply in batch}
    questions = [question for request_id in by_request for question in questions_of(truths[request_id])]
    answers = {
        question.key: answer_in(by_request[question.sample.row.sample_id].reply, question.modality)
        for question in questions
    }
    tally = score(questions, {MODEL: answers}, Choices(), {}, embedder)
    return [
        {
            "task": asked[request_id].task,
            "metric": metric,
            "sample_id": by_request[request_id].row.sample_id,
            "value": value,
        }
        for (metric, _), scores in tally.single.items()
        for request_id, value in ((key.partition(":")[0], value) for key, value in scores.items())
    ]
