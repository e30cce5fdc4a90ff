"""Phrases chosen samples: expands templates and fills them in."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from codi2_datasets.planning.planner import SIDES, Columns, Planner
from codi2_datasets.planning.templates import pieces
from codi2_storage.catalog.sql import case, literal

SEGMENTS = r"\{[^{}]*\}|[^{]+|\{"  # of a text: a word in braces, or the text between two


@dataclass(frozen=True)
class Values:
    """What the words and slots of templates stand for, as SQL over the table `chosen c`."""

    words: dict[str, str]
    media: dict[str, str]
    texts: dict[str, str]
    sources: dict[str, str]
    """The asset that each of the texts was taken from."""

    @classmethod
    def of(cls, columns: Columns, max_demos: int) -> Values:
        words = {name: f"c.word_{name}" for name in columns.words}
        media = {name: f"c.slot_{name}" for name in (*columns.media, *columns.derived)}
        texts = {name: f"c.text_{name}" for name in columns.texts}
        own = "c.source_asset" if "asset" in columns.sources else "null"
        sources = {name: f"c.source_{name}" if name in columns.sources else own for name in texts}
        for slot, name, n in ((f"demo{n}_{s}", of, n) for n in range(1, max_demos + 1) for s, of in SIDES.items()):
            if name in media:
                media[slot] = f"c.demo_slot_{name}[{n}]"
            elif name in texts:
                source = f"c.demo_source_asset[{n}]" if "asset" in columns.sources else "null"
                sources[slot] = f"if({texts[slot]} is null, {source}, {sources[slot]})" if slot in texts else source
                paired = f"c.demo_text_{name}[{n}]"
                texts[slot] = f"coalesce({texts[slot]}, {paired})" if slot in texts else paired
        return cls(words, media, texts, sources)


def make_templates(connection: duckdb.DuckDBPyConnection, planner: Planner, options: dict) -> None:
    """Create `templates`: every phrasing expanded, one row per part, for every number of demonstrations it can hold."""
    rows, seen = [], dict.fromkeys(((t.kind, t.shows_demos) for t in planner.templates), 0)
    for template in planner.templates:
        if template.shows_demos and not options["max_demos"]:
            continue
        number = seen[template.kind, template.shows_demos]
        seen[template.kind, template.shows_demos] += 1
        for demos in range(1, options["max_demos"] + 1) if template.shows_demos else [0]:
            rows += [
                (template.kind, number, demos, p.position, p.turn, p.role, p.text, p.slot, p.icl_role, p.target)
                for p in pieces(template, demos)
            ]
    names = ("kind", "number", "demos", "position", "turn", "role", "text", "slot", "icl_role", "target")
    columns = [pa.array(values) for values in zip(*rows, strict=True)]
    connection.register("written_out", pa.table(columns, names=names))
    connection.execute(
        "create or replace temp table templates as "
        "select * replace (text::varchar as text, slot::varchar as slot, icl_role::varchar as icl_role) from written_out"
    )
    connection.unregister("written_out")
    connection.execute("create or replace temp table phrasings (kind varchar, shows_demos boolean, total integer)")
    connection.executemany("insert into phrasings values (?, ?, ?)", [(*key, total) for key, total in seen.items()])


def pick_phrasings(connection: duckdb.DuckDBPyConnection) -> None:
    """Choose the number of the template for each sample; another one each time a candidate is repeated."""
    connection.execute(
        """create or replace temp table chosen as
           select c.* exclude (h, round), ((h % p.total + round) % p.total)::integer as number
           from chosen c left join phrasings p on p.kind = c.kind and p.shows_demos = (c.demos > 0)"""
    )


def write_parts(connection: duckdb.DuckDBPyConnection, columns: Columns, max_demos: int) -> None:
    """Create `task_parts`: the chosen samples joined with their phrasings, every word and slot filled in.

    A value is never parsed for marks. `missing` is true if the candidate has no value for a word or slot.
    """
    known = Values.of(columns, max_demos)
    words = case("s", [(f"{{{name}}}", f"{column}::varchar") for name, column in known.words.items()], otherwise="s")
    filled_words = f"list_transform(t.segments, lambda s: {words})"
    is_media = f"coalesce({case('t.slot', [(name, 'true') for name in known.media])}, false)"
    media, texts, sources = (case("t.slot", of.items()) for of in (known.media, known.texts, known.sources))
    connection.execute(
        f"""create or replace temp table task_parts as
            with split as (select *, regexp_extract_all(text, {literal(SEGMENTS)}) as segments from templates),
            said as (
                select c.key, t.position, t.turn, t.role, t.icl_role, t.target, {is_media} as is_media, {media} as medium,
                       {sources} as source, if(t.slot is null, {filled_words}, [{texts}]) as said
                from chosen c join split t on t.kind = c.kind and t.number = c.number and t.demos = c.demos),
            filled as (
                select key, position, turn, role, if(is_media, null, array_to_string(said, '')) as text,
                       if(is_media, medium, source) as asset_id, icl_role, target,
                       if(is_media, medium is null, list_count(said) < len(said)) as missing
                from said)
            select * replace ({"row_number() over (partition by key order by position) - 1" if known.texts else "position"} as position)
            from filled where text is null or text <> '' or missing"""
    )
