"""ATTRIBUTION file: authors, licences and sources of the works in a build, and what was made of them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import duckdb

from codi2_datasets.corpora import corpora
from codi2_datasets.publishing.figures import find_works, rows
from codi2_datasets.publishing.licence_links import asks_share_alike, text_of
from codi2_storage.catalog.sql import literals

AUTHORS = """
    select corpus, source, version, description, licence, author, modality, count(*) as works
    from works group by all order by corpus, source, version, works desc, author, licence, modality"""

# listed individually if a corpus has works of several authors or licences, since the corpus alone is not precise enough
SINGLE = """
    select corpus, locator, caption, author, licence, attributes ->> '$.url' as url
    from works
    where corpus in (select corpus from works group by corpus having count(distinct author) > 1
                     or count(distinct licence) > 1)
    order by corpus, author, locator"""

MADE = """
    with recursive made(asset_id, op, modality, licence, input) as (
        select asset_id, op, modality, licence, unnest(inputs) from assets semi join shown using (asset_id)
        where op is not null
        union
        select m.asset_id, m.op, m.modality, m.licence, unnest(a.inputs)
        from made m join assets a on a.asset_id = m.input where a.op is not null)
    select m.op, m.modality, m.licence, count(distinct m.asset_id) as works,
           list_sort(list(distinct s.corpus || ' (' || s.licence || ')')) as sources
    from made m join assets s on s.asset_id = m.input where s.op is null
    group by m.op, m.modality, m.licence order by m.op, m.modality, m.licence"""

INTRODUCTION = """This dataset shows works of others. Every work stays under its own licence, named below with its author
and the package that it comes from; the catalog names the source of every single one (tables assets and source_rows).
All of them were changed: {changes}. Some were made into other works, as said below. A sample puts works side by side.
Its field `licence` names the licence that asks most of those it shows; it takes nothing away from the others."""

SHARE_ALIKE = """Works under {names} may be passed on, changed or not, under that same licence alone (or one that it
allows in its place), with its text or its address and the names of their authors. That holds for these works and for
the media made of them, wherever a sample shows them. Samples without any:"""


def attribution(connection: duckdb.DuckDBPyConnection) -> str:
    """The whole text. Lists only works that samples show, and those from which shown media were derived."""
    find_works(connection)
    authors = rows(connection, AUTHORS)
    single = {name: list(group) for name, group in groupby(rows(connection, SINGLE), key=lambda row: row["corpus"])}
    made = rows(connection, MADE)
    total = sum(row["works"] for row in authors)
    introduction = wrapped(INTRODUCTION.format(changes=changes(connection)))
    lines = [f"ATTRIBUTION of {total:,} works", "", *introduction, *heading("Works")]
    for _, group in groupby(authors, key=lambda row: (row["corpus"], row["source"], row["version"])):
        works = list(group)
        lines += tell_corpus(works, single.get(works[0]["corpus"], []))
    if made:
        lines += [*heading("Media made of these works"), *tell_made(made)]
    lines += heading("Licences") + tell_licences([*authors, *made])
    return "\n".join(lines) + "\n"


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


def heading(words: str) -> list[str]:
    return ["", "", words, "-" * len(words)]


def changes(connection: duckdb.DuckDBPyConnection) -> str:
    """How every work was changed, by the recipe of the build."""
    specs = rows(connection, "select spec from builds where spec is not null order by build_id limit 1")
    spec = json.loads(specs[0]["spec"]) if specs else {}
    image, audio = spec.get("image", {}), spec.get("audio", {})
    parts = [f"pictures and clips were drawn at {image['size']} by {image['size']} pixels"] if "size" in image else []
    if "sample_rate" in audio:
        parts.append(f"sounds were mixed down to one channel of {audio['sample_rate']:,} samples a second")
    if "max_seconds" in audio:
        parts.append(f"and cut after {audio['max_seconds']:g} seconds")
    return ", ".join(parts) or "pictures were drawn at one size, sounds mixed down to one channel and cut"


def tell_corpus(works: list[dict[str, Any]], single: list[dict[str, Any]]) -> list[str]:
    """One corpus: its package, its authors with the number of their works, and single works if they differ."""
    first = works[0]
    lines = ["", first["corpus"]]
    lines += [f"  {first['description']}"] if first["description"] else []
    lines.append(f"  from {first['source'] or 'an unnamed source'}, version {first['version'] or 'unknown'}")
    known = corpora().get(first["corpus"])
    if known is not None and known.companions:
        lines.append(f"  names and keywords from {', '.join(known.companions)}")
    lines += [f"  {row['works']:>7,} {plural(row['modality'])} by {author(row)}, {row['licence']}" for row in works]
    for row in single:
        words = f'"{row["caption"]}"' if row["caption"] else "(no words)"
        link = f", {row['url']}" if row["url"] else ""
        lines.append(f"    {row['locator']}: {words} by {author(row)}, {row['licence']}{link}")
    return lines


def tell_made(made: Iterable[dict[str, Any]]) -> list[str]:
    lines = []
    for row in made:
        lines += [
            "",
            f"  {row['works']:,} {plural(row['modality'])} made by {row['op']}, {row['licence']}, of works from",
            *(f"    {source}" for source in row["sources"]),
        ]
    return lines


def tell_licences(used: Iterable[dict[str, Any]]) -> list[str]:
    """Each licence with the URL of its text, and the requirements of share-alike licences."""
    names = sorted({row["licence"] for row in used if row["licence"]})
    lines = ["", *(f"  {name}: {text_of(name) or 'its text is in the package named above'}" for name in names)]
    strict = [name for name in names if asks_share_alike(name)]
    if strict:
        lines += ["", *wrapped(SHARE_ALIKE.format(names=", ".join(strict)))]
        lines.append(f"  select * from samples where licence not in ({literals(strict)})")
    return lines


def author(row: dict[str, Any]) -> str:
    return row["author"] or "authors whom the package does not name"


def plural(modality: str) -> str:
    return {"image": "pictures", "audio": "sounds", "video": "clips", "text": "texts"}.get(modality, modality)
