"""The plan of one task: candidates -> chosen samples -> demonstrations -> parts, part of `plan`."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from codi2_datasets.planning.demonstrations import Pairing, drop_rings, make_rings, pair
from codi2_datasets.planning.licences import fusable, fuse_all, strictest
from codi2_datasets.planning.media_marks import place_media
from codi2_datasets.planning.mixture import choose, make_chosen
from codi2_datasets.planning.phrasing import make_templates, pick_phrasings, write_parts
from codi2_datasets.planning.planner import Columns
from codi2_datasets.recipe_schema import Recipe, TaskChoice
from codi2_datasets.tasks import Planner
from codi2_datasets.transforms import transforms
from codi2_storage.catalog.sql import literal, literals

VERSION = "2"  # part of the key under which plans are kept: to be raised when this code gives another plan
COPY = "the same sample as another"  # reason of a reject
FORBIDDEN = "(none)"  # the licence of a work that must not be made
OF_TASK = ("samples", "parts", "derived", "rejected")


def plan_task(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, planner: Planner, choice: TaskChoice
) -> dict[str, pa.Table]:
    """Candidates -> chosen samples -> demonstrations -> parts, for one task: the tables of `OF_TASK`."""
    columns = prepare_task(connection, recipe, planner, choice)
    queries = plan_samples(connection, recipe, planner, choice, columns)
    drop_rings(connection)
    return {name: connection.execute(query).to_arrow_table() for name, query in queries.items()}


def prepare_task(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, planner: Planner, choice: TaskChoice
) -> Columns:
    """What concerns the whole task: its candidates, its templates, which candidates are taken, the rings of demonstrations."""
    columns = make_candidates(connection, planner, choice.options)
    make_templates(connection, planner, choice.options)
    choose(connection, planner.task, recipe.seed, choice, recipe.mixture)
    if planner.demos:
        make_rings(connection, "candidates", pairing_of(recipe, choice, columns))
    return columns


def pairing_of(recipe: Recipe, choice: TaskChoice, columns: Columns) -> Pairing:
    options = choice.options
    marked = [name for name in ("query", "target") if name in (*columns.media, *columns.derived)]
    bounds = options["min_demos"], options["max_demos"]
    return Pairing(recipe.seed, *bounds, options.get("pairing", "relation"), marked)


def plan_samples(
    connection: duckdb.DuckDBPyConnection,
    recipe: Recipe,
    planner: Planner,
    choice: TaskChoice,
    columns: Columns,
    number: int = 0,
    ranges: int = 1,
) -> dict[str, str]:
    """Plan the samples that `prepare_task` chose, or one range of them. Returns SQL for the tables of `OF_TASK`."""
    make_chosen(connection, number, ranges)
    if planner.demos:
        pair(connection, "chosen", "candidates", pairing_of(recipe, choice, columns))
    else:
        connection.execute("alter table chosen add column demos integer default 0")
    pick_phrasings(connection)
    write_parts(connection, columns, choice.options["max_demos"] if planner.demos else 0)
    place_media(connection, columns)
    derive(connection, columns)
    return name_samples(connection, recipe, planner, columns)


def make_candidates(connection: duckdb.DuckDBPyConnection, planner: Planner, options: dict) -> Columns:
    """Create `candidates`: the planner's rows, each derive_NAME named by the hash of how it is made.

    Returns the columns. Raises ColumnError or TemplateError if they are not what the planner and its templates say.
    """
    columns = planner.check_query(describe(connection, planner, options))
    named = []
    for name in columns.derived:
        made, own = f"derive_{name}", f"slot_{name}" if name in columns.media else "null"
        named.append(
            f"""if({made} is null, {own}, sha256(concat_ws('|', {made}.op, $versions[{made}.op], {made}.params,
                array_to_string({made}.inputs, ',')))) as slot_{name}"""
        )
    replaced = ", ".join(f"slot_{name}" for name in columns.derived if name in columns.media)
    every = ", ".join([f"* exclude ({replaced})" if replaced else "*", *named])
    query, bound = candidates_of(planner, options)
    if named:
        known = transforms().values()
        bound["versions"] = {"key": [item.name for item in known], "value": [item.version for item in known]}  # a map
    connection.execute(f"create or replace temp table candidates as select {every} from ({query})", bound)
    kinds = connection.execute("select distinct kind from candidates").fetchall()
    planner.check_templates(columns, {kind for (kind,) in kinds})
    return columns


def candidates_of(planner: Planner, options: dict) -> tuple[str, dict[str, Any]]:
    """The planner's SQL, and the options that it names."""
    query = planner.sql(options)
    return query, {name: options[name] for name in duckdb.extract_statements(query)[0].named_parameters}


def describe(connection: duckdb.DuckDBPyConnection, planner: Planner, options: dict) -> dict[str, str]:
    """The columns of the planner's SQL, and their types."""
    query, bound = candidates_of(planner, options)
    return {name: kind for name, kind, *_ in connection.execute(f"describe {query}", bound).fetchall()}


def derive(connection: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Create `task_derived`: how each derived medium of the parts is made; add modality and licence to the parts."""
    connection.execute("create or replace temp table task_derived as select * from derived limit 0")
    how = [
        f"select slot_{name} as asset_id, unnest(derive_{name}) from candidates where derive_{name} is not null"
        for name in columns.derived
    ]
    if how:
        connection.execute(
            f"""insert into task_derived by name
                with used as (
                    select distinct asset_id from task_parts where asset_id is not null),
                made as (
                    select asset_id, any_value(op) as op, any_value(params) as params, any_value(inputs) as inputs
                    from ({" union all ".join(how)}) semi join used using (asset_id) group by asset_id),
                opened as (
                    select asset_id, op, unnest(inputs) as input, inputs[1] as first from made)
                select m.*, f.source_row_id, f.corpus, t.modality, i.split, i.holdout,
                       i.licence, i.caption
                from made m join transforms t on t.name = m.op join selected f on f.asset_id = m.inputs[1] join (
                    select o.asset_id, max(s.split) as split, max(s.holdout) as holdout,
                           array_to_string(list_sort(list_distinct(list(s.licence))), '+') as licence,
                           string_agg(distinct s.caption, ' + ' order by s.caption) as caption
                    from opened o join selected s on s.asset_id = o.input group by o.asset_id) i
                    on i.asset_id = m.asset_id"""
        )
        name_licences(connection, "task_derived", fuse_all)
    connection.execute(
        """create or replace temp table task_parts as
           select p.*, if(p.text is not null, 'text', coalesce(s.modality, d.modality)) as modality,
                  coalesce(s.licence, d.licence) as licence
           from task_parts p left join selected s using (asset_id) left join task_derived d using (asset_id)"""
    )


def name_licences(connection: duckdb.DuckDBPyConnection, table: str, combine) -> None:
    """Replace 'A+B' in the column licence by the licence of the combination."""
    combined = connection.execute(f"select distinct licence from {table} where licence like '%+%'").fetchall()
    names = [(listed, combine(listed.split("+")) or FORBIDDEN) for (listed,) in combined]
    if names:
        connection.execute("create or replace temp table named (listed varchar, name varchar)")
        connection.executemany("insert into named values (?, ?)", names)
        connection.execute(f"update {table} set licence = named.name from named where licence = named.listed")


def make_fusable(connection: duckdb.DuckDBPyConnection) -> None:
    """Create SQL `fusable(a, b)` and `joinable(a, b)`: whether works may be combined into one, or appear in one sample."""
    known = [name for (name,) in connection.execute("select distinct licence from selected order by 1").fetchall()]
    for name, allows in (("fusable", fusable), ("joinable", lambda a, b: strictest([a, b]))):
        allowed = [f"{a}+{b}" for a in known for b in known if allows(a, b)] or [""]
        connection.execute(f"create or replace temp macro {name}(a, b) as a || '+' || b in ({literals(allowed)})")


def name_samples(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, planner: Planner, columns: Columns
) -> dict[str, str]:
    """Name the samples and reject invalid ones. Returns SQL for the tables of `OF_TASK`."""
    described = ", ".join(f"{literal(name)}, c.meta_{name}" for name in columns.meta)
    shown = "c.demos + c.shown" if "shown" in columns.others else "c.demos"
    language = "coalesce(c.language, 'en')" if "language" in columns.others else "'en'"
    connection.execute(
        f"""create or replace temp table task_samples as
            with told as (
                select key, sha256(concat_ws(chr(31), $task, $version, string_agg(concat_ws(
                           chr(30), turn, role, modality, coalesce(asset_id, ''), coalesce(text, ''),
                           coalesce(icl_role, ''), target), chr(31) order by position)))[1:32] as sample_id,
                       count(*) as n_parts, bool_or(asset_id is not null and modality is null) as lost, bool_or(missing) as missing,
                       array_to_string(list_sort(list_distinct(list(licence) filter (where licence is not null))), '+')
                           as licence
                from task_parts group by key)
            select c.key, t.sample_id, c.split, c.holdout, {language} as language,
                   c.kind || '/' || c.number as template, t.n_parts, {shown} as n_demos, t.licence, t.lost, t.missing,
                   md5_number_lower(concat_ws('|', $seed, $recipe, t.sample_id)) % 2147483648 as seed,
                   json_object({described})::varchar as meta,
                   row_number() over (partition by t.sample_id order by c.key) as copy
            from chosen c left join told t using (key)""",
        {"task": planner.task, "version": planner.version, "seed": recipe.seed, "recipe": recipe.name},
    )
    name_licences(connection, "task_samples", strictest)
    connection.execute(
        """create or replace temp table dropped as
           select key, coalesce(sample_id, $task || ':' || key) as subject,
                  case when sample_id is null then 'too few demonstrations'
                       when missing then 'its template names what the candidate does not have' when lost then 'a medium is not selected'
                       when licence in ('', $none) then 'incompatible licences' else $copy end as reason
           from task_samples where sample_id is null or missing or lost or copy > 1 or licence in ('', $none)""",
        {"task": planner.task, "none": FORBIDDEN, "copy": COPY},
    )
    connection.execute("delete from task_samples where key in (select key from dropped)")
    return {
        "samples": "select * exclude (copy, lost, missing) from task_samples",
        "parts": """select s.sample_id, p.* exclude (key, licence, missing)
                    from task_parts p join task_samples s using (key) order by sample_id, position""",
        "derived": "select * from task_derived",
        "rejected": "select subject, reason from dropped",
    }
