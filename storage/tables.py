"""Schemas of all catalog tables, in one place. Design: `docs/architecture.md`."""

from __future__ import annotations

import pyarrow as pa

S, I, F, B = pa.string(), pa.int64(), pa.float64(), pa.bool_()  # noqa: E741


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_PARTS = _schema(
    build_id=S, sample_id=S, position=I, turn=I, role=S, modality=S, text=S, asset_id=S, icl_role=S, target=B
)

# `op`, `params` and `inputs` are set on derived assets alone: the operator, its parameters and the input assets. `near`
# names the group of near-duplicates; an asset without near-duplicates names itself.
_ASSETS = _schema(
    asset_id=S, source_row_id=S, source_sha256=S, corpus=S, modality=S, media_type=S, bytes=I, width=I, height=I,
    source_width=I, source_height=I, duration_s=F, caption=S, attributes=S, licence=S, split=S, holdout=S, near=S,
    shard=S, member=S, offset=I, text=S, op=S, params=S, inputs=pa.list_(S),
)  # fmt: skip

TABLES: dict[str, pa.Schema] = {
    "builds": _schema(
        build_id=S, recipe=S, recipe_hash=S, parent=S, status=S, samples=I, spec=S, row_limit=I, seed=I, workers=I,
        opted_out=pa.list_(S), environment=S, code_version=S, created_at=S,
    ),
    "corpora": _schema(
        corpus=S, revision=S, source=S, version=S, sha256=S, licence=S, description=S, rows=I, ingest_id=S
    ),
    "source_rows": _schema(source_row_id=S, corpus=S, revision=S, locator=S, sha256=S, licence=S, author=S),
    # every normalised row; a build's `assets` are the rows it selected and the assets it derived from them
    "ingested": _ASSETS,
    "assets": _ASSETS,
    # a signal is a number (`value`), a string (`text`) or a list of numbers (`vector`), for example an embedding or a
    # thumbnail
    "signals": _schema(
        asset_id=S, op=S, op_version=S, name=S, value=F, text=S, vector=pa.list_(pa.float32())
    ),
    "rejects": _schema(build_id=S, subject=S, stage=S, op=S, reason=S, score=F, threshold=F, error=S),
    # works whose owners opted out: their rows, and their media whichever corpus they come from
    "forgotten": _schema(source_row_id=S, asset_id=S, corpus=S, locator=S, sha256=S, created_at=S),
    "plan": _PARTS,
    "parts": _PARTS,
    "samples": _schema(
        build_id=S, sample_id=S, task=S, split=S, holdout=S, language=S, template=S, n_parts=I, n_demos=I, licence=S,
        shard=S, seed=I, meta=S,
    ),
    "op_runs": _schema(
        build_id=S, stage=S, op=S, op_version=S, params=S, rows_in=I, rows_out=I, rejected=I, failed=I, seconds=F
    ),
    "shards": _schema(build_id=S, shard=S, task=S, split=S, samples=I, bytes=I, sha256=S, plan_hash=S),
    "runs": _schema(
        run_id=S, kind=S, config=S, build_id=S, seed=I, workers=I, threads=I, device=S, environment=S, code_version=S,
        status=S, uri=S, start=S, seconds=F, created_at=S, ended_at=S, reason=S, attempt=I, parent=S, flow_run=S,
    ),
    "checkpoints": _schema(checkpoint_id=S, run_id=S, step=I, uri=S, sha256=S),
    "metrics": _schema(
        run_id=S, checkpoint_id=S, suite=S, task=S, split=S, metric=S, value=F, low=F, high=F, n=I, baseline=S
    ),
    # the model's own scores per sample: two models are compared by these
    "scores": _schema(run_id=S, checkpoint_id=S, suite=S, task=S, metric=S, sample_id=S, value=F),
    # one row per metric of a promotion decision: `role` is chosen or guard, `gain` is candidate minus champion
    "gates": _schema(
        gate_id=S, build_id=S, candidate=S, champion=S, role=S, metric=S, candidate_value=F, champion_value=F, gain=F,
        low=F, high=F, n=I, passed=B, promoted=B, reason=S, created_at=S,
    ),
    "generations": _schema(
        request_id=S, sample_id=S, status=S, reason=S, seed=I, checkpoint_id=S, uri=S, prompt=S
    ),
    "deployments": _schema(name=S, checkpoint_id=S, uri=S, since=S, until=S, reason=S),
    # builds and checkpoints that garbage collection must keep: `kind` is build or checkpoint
    "pins": _schema(target=S, kind=S, reason=S, created_at=S),
}  # fmt: skip


# Rows are only ever appended. A deployment ends when the next of its name starts; a row without a checkpoint marks an
# end without a successor.
VIEWS: dict[str, str] = {
    "deployments": """select * from (
        select * replace (coalesce(until, lead(since) over (partition by name order by since, checkpoint_id desc)) as until)
        from ({rows})) where checkpoint_id is not null""",
}
"""SQL of the tables whose view differs from their stored rows."""


class SchemaError(ValueError):
    """Rows do not fit their table. The message names the table and the column."""


def as_table(name: str, rows: pa.Table | list[dict]) -> pa.Table:
    """Rows in the schema of their table. Missing columns become null; an unknown column raises SchemaError."""
    if name not in TABLES:
        raise SchemaError(f"unknown table {name!r}; known: {', '.join(sorted(TABLES))}")
    schema = TABLES[name]
    known = set(schema.names)
    if isinstance(rows, pa.Table):
        unknown = [column for column in rows.column_names if column not in known]
    else:
        unknown = sorted({column for row in rows for column in row} - known)
    if unknown:
        raise SchemaError(f"table {name!r} has no column {', '.join(unknown)}")
    try:
        if isinstance(rows, pa.Table):
            columns = [
                rows[field.name].cast(field.type)
                if field.name in rows.column_names
                else pa.nulls(len(rows), field.type)
                for field in schema
            ]
            return pa.table(columns, schema=schema)
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"rows do not fit table {name!r}: {error}") from error
