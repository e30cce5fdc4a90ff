"""Step 3: SQL decides which ingested rows are used, and in which split. Rejected rows are in `rejects` with a reason.

Runs on one DuckDB connection that shows the build's ingests. Creates the tables of `OF_SELECT`. In `selected`:
  split    train, validation or test
  holdout  '' in train; 'concept' if the whole family is held out, 'combination' if only this style of it is
  near     the group of near-duplicates of the asset; the asset itself if it has none
"""

from __future__ import annotations

import time

import duckdb

from codi2_datasets.planning.tables import attribute_names, create_tables
from codi2_datasets.planning.text_links import make_links
from codi2_datasets.recipe_schema import Filter, Recipe, RecipeError, Splits
from codi2_datasets.steps.decontaminate import drop_contaminated
from codi2_datasets.steps.deduplicate import group_near, keep_apart
from codi2_datasets.steps.ledger import count, ledger_line, reject
from codi2_storage.catalog.sql import identifier, literal


def select(connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe) -> None:
    """Create `selected`, `rejected` (rows for `rejects`) and `ledger` (rows for `op_runs`) from the ingested rows."""
    create_tables(connection, "rejected", "ledger")
    drop_duplicates(connection, build_id, recipe)
    drop_forgotten(connection, build_id)
    drop_unlicensed(connection, build_id, recipe.licences)
    widen_signals(connection)
    for rule in recipe.filters:
        apply_filter(connection, build_id, rule)
    group_near(connection, build_id, recipe)
    drop_contaminated(connection, build_id, recipe)
    assign_splits(connection, recipe)
    keep_apart(connection, build_id)
    make_links(connection)


def drop_duplicates(connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe) -> None:
    """Keep one row of each asset: from the corpus listed first in the recipe, then the first by locator."""
    start = time.perf_counter()
    connection.execute("create temp table corpus_rank (corpus varchar, rank integer)")
    ranks = [(choice.corpus, rank) for rank, choice in enumerate(recipe.corpora)]
    connection.executemany("insert into corpus_rank values (?, ?)", ranks)
    connection.execute(  # the window sorts what it needs, not whole rows
        """create temp table candidates as
           select i.*, s.locator, r.rank
           from ingested i join source_rows s using (source_row_id) join corpus_rank r on r.corpus = i.corpus;
           create temp table copies as
           select rowid as id, row_number() over w as copy, first_value(corpus || ':' || locator) over w as kept
           from candidates window w as (partition by asset_id order by rank, locator, source_row_id)"""
    )
    connection.execute(
        """insert into rejected by name
           select ? as build_id, source_row_id as subject, 'select' as stage, 'exact_duplicate' as op,
                  'the same media as another row' as reason, kept as error
           from candidates c join copies k on k.id = c.rowid where k.copy > 1""",
        [build_id],
    )
    connection.execute(
        """create table selected as
           select * exclude (locator, rank, split, holdout, near) from candidates
           where rowid in (select id from copies where copy = 1)"""
    )
    rows_in = count(connection, "candidates")
    rejected = rows_in - count(connection, "selected")
    ledger_line(connection, build_id, "select", "exact_duplicate", {}, rows_in, rejected, start)
    connection.execute("drop table candidates; drop table copies")


def drop_forgotten(connection: duckdb.DuckDBPyConnection, build_id: str) -> None:
    """Reject works whose owners opted out, whichever corpus the same media come from."""
    start = time.perf_counter()
    if not count(connection, "forgotten"):
        return
    connection.execute(
        """create temp table dropped as select asset_id from selected
           where asset_id in (select asset_id from forgotten)
              or source_row_id in (select source_row_id from forgotten)"""
    )
    reject(connection, build_id, "forget", {}, "its owner opted out", start)


def drop_unlicensed(connection: duckdb.DuckDBPyConnection, build_id: str, allowed: tuple[str, ...]) -> None:
    """Reject works under a licence that the recipe does not allow, if it lists any."""
    start = time.perf_counter()
    if not allowed:
        return
    connection.execute(
        """create temp table dropped as select asset_id, licence as error from selected
           where not coalesce(list_contains(?::varchar[], licence), false)""",
        [list(allowed)],
    )
    params = {"licences": sorted(allowed)}
    reject(connection, build_id, "licence", params, "its licence is not among those that the recipe allows", start)


def widen_signals(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `measured`: one row per asset, one column per signal, so that filters are plain SQL."""
    signals = connection.execute(
        "select name, bool_or(text is not null) from signals where vector is null group by name "
        "having max(length(coalesce(text, ''))) <= 64 order by name"  # hashes are compared elsewhere
    ).fetchall()
    columns = "".join(
        f", max({'text' if words else 'value'}) filter (where name = {literal(name)}) as {identifier(name)}"
        for name, words in signals
    )
    connection.execute(f"create temp table measured as select asset_id{columns} from signals group by asset_id")


def apply_filter(connection: duckdb.DuckDBPyConnection, build_id: str, rule: Filter) -> None:
    """Move what the rule rejects from `selected` to `rejected`. Raises RecipeError if its SQL is invalid."""
    start = time.perf_counter()
    counted = connection.execute("select count(*) from selected where modality = ?", [rule.modality]).fetchone()
    rows_in = counted[0] if counted else 0
    if not rows_in:  # no assets of this modality, and so none of its signals
        return
    score = f"m.{identifier(rule.signal)}" if rule.signal else "null"
    try:
        connection.execute(
            f"""create temp table dropped as select asset_id, {score}::double as score, ?::double as threshold
                from selected s left join measured m using (asset_id)
                where s.modality = ? and coalesce(({rule.reject}), false)""",
            [rule.threshold, rule.modality],
        )
    except duckdb.Error as error:
        raise RecipeError(f"filters: {rule.reject!r} cannot be used: {str(error).splitlines()[0]}") from error
    params = {"modality": rule.modality, "reject": rule.reject}
    reject(connection, build_id, "filter", params, rule.reason, start, rows_in)


def assign_splits(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Add attributes, split and holdout. Shares are taken by hash, so that new rows never move existing ones."""
    columns = ", ".join(f"attributes ->> '$.{name}' as {identifier(name)}" for name in attribute_names())
    connection.execute(
        f"""create or replace table selected as
            with attributed as (select *, {columns} from selected),
            placed as (
                select *, {unit("'family', coalesce(family, near)", recipe.seed)} as u,
                       {unit("'combination', concept, style", recipe.seed)} as v
                from attributed)
            select * exclude (u, v), {split_of("u", "v", recipe.splits)} from placed"""
    )


def unit(keys: str, seed: int) -> str:
    """SQL for a number in [0, 1) that depends only on the keys and the seed."""
    return f"md5_number_upper(concat_ws('|', {seed}, {keys})) / 18446744073709551616.0"


def split_of(family: str, combination: str, splits: Splits) -> str:
    """SQL for the columns split and holdout, from two numbers in [0, 1)."""
    test, validation = splits.test_concepts, splits.test_concepts + splits.validation_concepts
    combos, more = splits.test_combinations, splits.test_combinations + splits.validation_combinations
    styled = "style is not null"
    return f"""case when {family} < {test} then 'test' when {family} < {validation} then 'validation'
                    when {styled} and {combination} < {combos} then 'test'
                    when {styled} and {combination} < {more} then 'validation' else 'train' end as split,
               case when {family} < {validation} then 'concept'
                    when {styled} and {combination} < {more} then 'combination' else '' end as holdout"""
