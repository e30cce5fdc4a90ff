"""Phrases chosen samples: expands templates, checks them against a planner's columns, and fills them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from codi2_datasets.planning.planner import Planner
from codi2_datasets.planning.templates import TemplateError, check_names, pieces
from codi2_storage.catalog.sql import case, literal

SIDES = {"in": "query", "out": "target"}  # sides of a demonstration, and the slots of its candidate used there
SEGMENTS = r"\{[^{}]*\}|[^{]+|\{"  # of a text: a word in braces, or the text between two


@dataclass(frozen=True)
class Columns:
    """What a planner's candidates provide for its templates, as SQL over the table `chosen c`."""

    words: dict[str, str]
    media: dict[str, str]
    texts: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)
    """The asset that each of the texts was taken from."""

    @classmethod
    def of(cls, columns: Sequence[str], max_demos: int) -> Columns:
        def named(*prefixes: str) -> list[str]:
            return [column.partition("_")[2] for column in columns if column.startswith(prefixes)]

        words = {name: f"c.word_{name}" for name in named("word_")}
        media = {name: f"c.slot_{name}" for name in named("slot_", "derive_")}
        texts = {name: f"c.text_{name}" for name in named("text_")}
        own = "c.source_asset" if "source_asset" in columns else "null"
        sources = {name: f"c.source_{name}" if f"source_{name}" in columns else own for name in texts}
        for slot, name, n in ((f"demo{n}_{s}", of, n) for n in range(1, max_demos + 1) for s, of in SIDES.items()):
            if name in media:
                media[slot] = f"c.demo_slot_{name}[{n}]"
            elif name in texts:
                source = f"c.demo_source_asset[{n}]" if "source_asset" in columns else "null"
                sources[slot] = f"if({texts[slot]} is null, {source}, {sources[slot]})" if slot in texts else source
                paired = f"c.demo_text_{name}[{n}]"
                texts[slot] = f"coalesce({texts[slot]}, {paired})" if slot in texts else paired
        return cls(words, media, texts, sources)

    def check(self, names: Sequence[tuple[str | None, str | None]], where: str) -> None:
        check_names(names, self.words, [*self.media, *self.texts], where)


def check_templates(planner: Planner, columns: Sequence[str]) -> None:
    """Check that every mark of every template names a column of the candidates.

    Raises TemplateError for the first that does not.
    """
    known = Columns.of(columns, 1 if planner.demos else 0)
    for template in planner.templates:
        where = f"task {planner.task}: template {' / '.join(template.turns)[:100]!r}"
        if template.shows_demos and not planner.demos:
            raise TemplateError(f"{where}: <demo> in a task without demonstrations")
        known.check([(piece.text, piece.slot) for piece in pieces(template, 1)], where)


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


def write_parts(connection: duckdb.DuckDBPyConnection, columns: Sequence[str], max_demos: int) -> None:
    """Create `task_parts`: the chosen samples joined with their phrasings, every word and slot filled in.

    A value is never parsed for marks. `missing` is true if the candidate has no value for a word or slot. Raises
    TemplateError for a mark that names no column.
    """
    known = Columns.of(columns, max_demos)
    used = "select distinct t.turn, t.position, t.text, t.slot from templates t semi join chosen c on c.kind = t.kind"
    known.check([row[2:] for row in connection.execute(f"{used} order by all").fetchall()], "templates")
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
