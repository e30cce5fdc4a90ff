"""Step 4: task planners + in-context pairing + splits -> the plan, before a byte moves.

Everything is SQL on the connection that `select` left: no Python loop runs over samples. Leaves the tables
  planned_samples  as `samples`, with `shard` still to come
  planned_parts    as `parts`
  derived          media to be made: as `assets`, without the bytes
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import duckdb

from codi2_datasets.licences import fusable, fuse_all, strictest
from codi2_datasets.pairing import pair
from codi2_datasets.progress import progress
from codi2_datasets.recipe import Recipe, TaskChoice
from codi2_datasets.relations import make_relations
from codi2_datasets.steps.select import count
from codi2_datasets.tasks import Planner, planners
from codi2_datasets.templates import pieces
from codi2_storage.tables import TABLES

DERIVE_VERSIONS = {"mix": "1"}


def plan(connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe) -> None:
    make_relations(connection)
    make_fusable(connection)
    for table, name in (("samples", "planned_samples"), ("parts", "planned_parts"), ("assets", "derived")):
        connection.register("schema_of", TABLES[table].empty_table())
        connection.execute(f"create temp table {name} as select * from schema_of")
        connection.unregister("schema_of")
    with progress("plan", len(recipe.tasks), "tasks") as advance:
        for name in sorted(recipe.tasks):
            plan_task(connection, build_id, recipe, planners()[name], recipe.tasks[name])
            advance(1)


def plan_task(
    connection: duckdb.DuckDBPyConnection, build_id: str, recipe: Recipe, planner: Planner, choice: TaskChoice
) -> None:
    """Candidates -> chosen samples -> demonstrations -> parts, for one task."""
    start = time.perf_counter()
    options = {**planner.options, **choice.options}
    connection.execute(f"create or replace temp table candidates as {planner.candidates(options)}")
    columns = [column[0] for column in connection.execute("select * from candidates limit 0").description]
    make_templates(connection, planner, options)
    choose(connection, planner.task, recipe.seed, choice)
    if planner.demos:
        pair(connection, "chosen", "candidates", recipe.seed, options["min_demos"], options["max_demos"])
    else:
        connection.execute("alter table chosen add column demos integer default 0")
    derive(connection, columns)
    write_parts(connection, columns)
    publish_task(connection, build_id, recipe, planner, columns, options, start)


def make_templates(connection: duckdb.DuckDBPyConnection, planner: Planner, options: dict) -> None:
    """`templates`: every phrasing written out, one row a piece, for every number of demonstrations."""
    rows, seen = [], dict.fromkeys((template.kind for template in planner.templates), 0)
    for template in planner.templates:
        number = seen[template.kind]
        seen[template.kind] += 1
        for demos in range(1, options["max_demos"] + 1) if planner.demos else [0]:
            rows += [
                (template.kind, number, demos, p.position, p.turn, p.role, p.text, p.slot, p.icl_role, p.target)
                for p in pieces(template, demos)
            ]
    connection.execute(
        """create or replace temp table templates (kind varchar, number integer, demos integer, position integer,
           turn integer, role varchar, text varchar, slot varchar, icl_role varchar, target boolean)"""
    )
    connection.executemany("insert into templates values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("create or replace temp table phrasings (kind varchar, total integer)")
    connection.executemany("insert into phrasings values (?, ?)", list(seen.items()))


def choose(connection: duckdb.DuckDBPyConnection, task: str, seed: int, choice: TaskChoice) -> None:
    """`chosen`: as many candidates as asked, evenly over what is held out and over `balance`, by hash.

    Where candidates are too few they come again in another phrasing, each phrasing once at most.
    """
    wanted = {"train": choice.train, "validation": choice.validation, "test": choice.test}
    connection.execute("create or replace temp table wanted (split varchar, total integer)")
    connection.executemany("insert into wanted values (?, ?)", list(wanted.items()))
    connection.execute(
        f"""create or replace temp table chosen as
            with hashed as (
                select c.*, w.total as wanted, p.total as phrasings, count(*) over (partition by c.split) as size,
                       md5_number_lower(concat_ws('|', {seed}, '{task}', c.key)) as h
                from candidates c join wanted w using (split) join phrasings p on p.kind = c.kind),
            again as (
                select * exclude (key), key || '#' || round as key,
                       ((h % phrasings + round) % phrasings)::integer as number
                from hashed, range(least(phrasings, ceil(wanted / size)::bigint)) r(round)),
            even as (
                select *, row_number() over (partition by split, holdout, balance, round order by h, key) as turn_of
                from again)
            select * exclude (h, turn_of, round, phrasings, size, wanted) from even
            qualify row_number() over (partition by split order by round, turn_of, h, key) <= wanted"""
    )


def derive(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    """Turn each derive_NAME into a slot_NAME, the hash of how it is made, and note it in `derived`."""
    for column in columns:
        if not column.startswith("derive_"):
            continue
        slot = f"slot_{column.removeprefix('derive_')}"
        versions = " ".join(f"when '{op}' then '{version}'" for op, version in DERIVE_VERSIONS.items())
        identity = f"""sha256(concat_ws('|', {column}.op, case {column}.op {versions} end, {column}.params,
                       array_to_string({column}.inputs, ',')))"""
        connection.execute(f"create or replace temp table chosen as select *, {identity} as {slot} from chosen")
        connection.execute(
            f"""insert into derived by name
                with made as (
                    select {slot} as asset_id, any_value({column}) as how from chosen
                    where {slot} not in (select asset_id from derived) group by all),
                inputs as (select asset_id, how, unnest(how.inputs) as input, how.inputs[1] as first from made)
                select i.asset_id, any_value(s.source_row_id) filter (where s.asset_id = i.first) as source_row_id,
                       any_value(s.corpus) filter (where s.asset_id = i.first) as corpus,
                       any_value(s.modality) as modality, any_value(s.media_type) as media_type,
                       max(s.split) as split, max(s.holdout) as holdout, any_value(how.op) as op,
                       any_value(how.params) as params, any_value(how.inputs) as inputs,
                       array_to_string(list_sort(list_distinct(list(s.licence))), '+') as licence,
                       string_agg(s.caption, ' + ' order by i.input <> i.first, s.caption) as caption
                from inputs i join selected s on s.asset_id = i.input group by i.asset_id"""
        )
    name_licences(connection, "derived", fuse_all)


def name_licences(
    connection: duckdb.DuckDBPyConnection, table: str, combine: Callable[[list[str]], str | None]
) -> None:
    """Replace 'A+B' in the column licence by what the combination comes to; null where it may not be."""
    found = connection.execute(f"select distinct licence from {table} where licence like '%+%'").fetchall()
    for (listed,) in found:
        connection.execute(f"update {table} set licence = ? where licence = ?", [combine(listed.split("+")), listed])


def make_fusable(connection: duckdb.DuckDBPyConnection) -> None:
    """SQL `fusable(a, b)`: may works under these licences be made into one?"""
    known = [name for (name,) in connection.execute("select distinct licence from selected order by 1").fetchall()]
    allowed = [f"'{a}+{b}'" for a in known for b in known if fusable(a, b)] or ["''"]
    connection.execute(f"create or replace temp macro fusable(a, b) as a || '+' || b in ({', '.join(allowed)})")


def write_parts(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    """`task_parts`: the chosen samples joined with their phrasings, every word and slot filled in."""
    said = "t.text"
    for column in columns:
        if column.startswith("word_"):
            said = f"replace({said}, '{{{column.removeprefix('word_')}}}', coalesce(c.{column}, ''))"
    slots = {c.split("_", 1)[1]: f"c.slot_{c.split('_', 1)[1]}" for c in columns if c.startswith(("slot_", "derive_"))}
    texts = {c.removeprefix("text_"): f"c.{c}" for c in columns if c.startswith("text_")}
    source = "c.source_asset" if "source_asset" in columns else "null"
    has_demos = connection.execute("select count(*) from templates where demos > 0").fetchone() != (0,)
    if has_demos:
        last = connection.execute("select max(demos) from templates").fetchone() or (0,)
        for n in range(1, last[0] + 1):
            slots |= {f"demo{n}_in": f"c.demo_in[{n}]", f"demo{n}_out": f"c.demo_out[{n}]"}
    asset = case("t.slot", {**slots, **dict.fromkeys(texts, source)})
    text = f"coalesce({case('t.slot', texts)}, {said})"
    connection.execute(
        f"""create or replace temp table task_parts as
            select c.key, t.position, t.turn, t.role, {text} as text, {asset} as asset_id, t.icl_role, t.target
            from chosen c join templates t on t.kind = c.kind and t.number = c.number and t.demos = c.demos"""
    )
    connection.execute(
        """create or replace temp table task_parts as
           select p.*, coalesce(s.modality, d.modality, 'text') as modality, coalesce(s.licence, d.licence) as licence
           from task_parts p left join selected s using (asset_id) left join derived d using (asset_id)"""
    )


def case(subject: str, choices: dict[str, str]) -> str:
    if not choices:
        return "null"
    return f"case {subject} " + " ".join(f"when '{name}' then {value}" for name, value in choices.items()) + " end"


def publish_task(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    recipe: Recipe,
    planner: Planner,
    columns: list[str],
    options: dict,
    start: float,
) -> None:
    """Name the samples, drop what may not be, and add the rest to the plan with a line in the ledger."""
    meta = [column for column in columns if column.startswith("meta_")]
    described = ", ".join(f"'{column.removeprefix('meta_')}', c.{column}" for column in meta)
    connection.execute(
        f"""create or replace temp table task_samples as
            with told as (
                select key, sha256(concat_ws(chr(31), '{planner.task}', '{planner.version}', string_agg(concat_ws(
                           chr(30), turn, role, coalesce(asset_id, ''), coalesce(text, ''), target), chr(31)
                           order by position)))[1:32] as sample_id,
                       count(*) as n_parts,
                       array_to_string(list_sort(list_distinct(list(licence) filter (where licence is not null))), '+')
                           as licence
                from task_parts group by key)
            select c.key, t.sample_id, c.split, c.holdout, c.kind || '/' || c.number as template, t.n_parts,
                   c.demos as n_demos, t.licence,
                   md5_number_lower(concat_ws('|', {recipe.seed}, '{recipe.name}', t.sample_id)) % 2147483648 as seed,
                   json_object({described})::varchar as meta,
                   row_number() over (partition by t.sample_id order by c.key) as copy
            from chosen c left join told t using (key)"""
    )
    name_licences(connection, "task_samples", strictest)
    connection.execute(
        f"""create or replace temp table dropped as
            select coalesce(sample_id, '{planner.task}:' || key) as subject,
                   case when sample_id is null then 'too few demonstrations'
                        when copy > 1 then 'the same sample as another' else 'incompatible licences' end as reason
            from task_samples where sample_id is null or copy > 1 or licence is null or licence = ''"""
    )
    connection.execute(
        f"""insert into rejected by name
            select '{build_id}' as build_id, subject, 'plan' as stage, '{planner.task}' as op, reason from dropped;
            delete from task_samples where sample_id is null or copy > 1 or licence is null or licence = ''"""
    )
    connection.execute(
        f"""insert into planned_samples by name
            select '{build_id}' as build_id, '{planner.task}' as task, * exclude (key, copy) from task_samples;
            insert into planned_parts by name
            select '{build_id}' as build_id, s.sample_id, p.* exclude (key, licence)
            from task_parts p join task_samples s using (key)"""
    )
    params = json.dumps({"options": options, "samples": wanted_counts(recipe, planner.task)}, sort_keys=True)
    rows_in, rejected = count(connection, "chosen"), count(connection, "dropped")
    values = [build_id, "plan", planner.task, planner.version, params, rows_in, rows_in - rejected, rejected, 0]
    values.append(time.perf_counter() - start)
    connection.execute("insert into ledger values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def wanted_counts(recipe: Recipe, task: str) -> dict[str, int]:
    choice = recipe.tasks[task]
    return {"train": choice.train, "validation": choice.validation, "test": choice.test}
