"""README.md of a build: a dataset card with Hugging Face front matter, with figures from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import yaml

from codi2_datasets.formats.sample import SPLITS
from codi2_datasets.publishing.figures import build_row, checked, find_works, one, rows
from codi2_datasets.publishing.licence_links import CREATIVE_COMMONS, text_of
from codi2_datasets.publishing.loading import LOADING

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"))  # fmt: skip
# tasks that Hugging Face has a category for
CATEGORIES = {
    "text_to_image": "text-to-image",
    "text_to_audio": "text-to-audio",
    "text_to_video": "text-to-video",
    "image_captioning": "image-to-text",
    "audio_captioning": "audio-text-to-text",
    "video_captioning": "video-text-to-text",
    "visual_question_answering": "visual-question-answering",
    "reasoning": "visual-question-answering",
    "image_editing": "image-to-image",
    "composition": "image-to-image",
    "exemplar_learning": "image-to-image",
    "audio_editing": "audio-to-audio",
    "text_instruction": "text-generation",
    "text_icl": "text-generation",
}
# licence names of Hugging Face besides Creative Commons, whose names there are the SPDX ids in lower case
LICENCE_NAMES = {
    **{name: name.lower() for name in ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "OFL-1.1")},
    "GPL-2.0-only": "gpl-2.0", "GPL-2.0-or-later": "gpl-2.0", "GPL-3.0-only": "gpl-3.0",
    "GPL-3.0-or-later": "gpl-3.0", "LGPL-2.1-or-later": "lgpl-2.1",
}  # fmt: skip

BODY = """# CoDi-2, open: {recipe}

{samples:,} in-context, interleaved, multimodal instructions for any-to-any models: chat messages whose parts are words,
pictures, sounds and clips, some with demonstrations before the query, and every part that is to be generated marked.

| | |
|---|---|
| build | `{build_id}` |
| recipe | {recipe} (`{recipe_hash}`) |
| code | {code_version} |
| published | {created_at} |
| shards | {shards:,} of {size} |
| parent build | {parent} |

Whose works these are: [ATTRIBUTION](ATTRIBUTION). Machine-readable: [croissant.json](croissant.json).

## Tasks

{tasks}

![samples of each task](plots/samples.svg)

What samples look like, drawn by lot: {sheets}.

## Parts

{parts}

## Demonstrations

{demos}

![samples by demonstrations shown](plots/demonstrations.svg)

## Corpora

Works that samples show, and those of which shown media were made.

{corpora}

![works of each corpus](plots/works.svg)

## Licences

Every work keeps its own licence; a sample is named after the licence that asks most of those it shows. To stay within
some licences, choose samples by `licence`.

{licences}

## Splits and leaks

Concepts are held out whole, with all their variants and from every corpus, and combinations of a concept and a style
besides. Rows of this build that break a rule:

{checks}

## What was refused

Every row that was dropped stands in the table `rejects` with its reason.

{rejects}

{loading}

## Known limits

- Pictures are small, drawings far more often than photographs; sounds are few and short. The data is for methods, tests
  and small models.
- Instructions are phrasings filled with the words of the corpora: their variety is limited, and so are the languages
  ({languages}).
- Captions are those of the corpora and say what the work is, not all that it shows.
- Nobody screened texts and pictures anew for what they tell of persons.
- Works under share-alike licences ask it of what is made of them; see ATTRIBUTION.

## Opt-out

`codi2 forget CORPUS:LOCATOR` removes a work and every sample that shows it, as a new build.
"""


def card(connection: duckdb.DuckDBPyConnection, build_id: str) -> str:
    """The whole card."""
    find_works(connection)
    build = build_row(connection, build_id)
    counts = rows(connection, "select task, split, count(*) as n from samples group by all order by all")
    tasks = sorted({row["task"] for row in counts})
    languages = spoken(connection)
    front = yaml.safe_dump(front_matter(connection, build, tasks, languages), sort_keys=False, allow_unicode=True)
    body = BODY.format(
        **{key: "none" if value is None else value for key, value in build.items() if key not in ("samples",)},
        samples=build["samples"] or 0,
        shards=one(connection, "select count(*) from shards"),
        size=in_bytes(one(connection, "select coalesce(sum(bytes), 0) from shards")),
        tasks=crossed(counts, "task", "split", SPLITS),
        sheets=", ".join(f"[{task.replace('_', ' ')}](sheets/{task}.png)" for task in tasks) or "no samples",
        parts=parts_table(connection),
        demos=demos_table(connection),
        corpora=corpora_table(connection),
        licences=licences_table(connection),
        checks=table(["rule", "rows"], ([name, number] for name, number in checked(connection).items())),
        rejects=rejects_table(connection),
        loading=LOADING.replace("BUILD", build_id),
        languages=", ".join(languages),
    )
    return f"---\n{front}---\n\n{body}"


def spoken(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Languages of the samples, most frequent first."""
    counts = rows(connection, "select language, count(*) as n from samples where language is not null group by 1 order by 2 desc, 1")  # fmt: skip
    return [row["language"] for row in counts] or ["en"]


def front_matter(
    connection: duckdb.DuckDBPyConnection, build: Mapping[str, Any], tasks: Iterable[str], languages: list[str]
) -> dict[str, Any]:
    """Front matter for the Hugging Face hub.

    Its viewer cannot read shards whose samples differ in parts, so the tables are listed instead.
    """
    licences = rows(connection, "select distinct licence from samples where licence is not null order by 1")
    modalities = rows(connection, "select distinct modality from parts order by 1")
    number = build["samples"] or 0
    tables = ("samples", "parts", "assets")
    return {
        "pretty_name": f"CoDi-2, open: {build['recipe']}",
        "license": sorted({hub_licence(row["licence"]) for row in licences}),
        "language": languages,
        "task_categories": sorted({"any-to-any", *(CATEGORIES[task] for task in tasks if task in CATEGORIES)}),
        "size_categories": [next((name for bound, name in SIZES if number < bound), "n>10M")],
        "tags": ["in-context-learning", "interleaved", "webdataset", *(row["modality"] for row in modalities)],
        "configs": [
            {"config_name": name, "data_files": f"catalog/{name}/build={build['build_id']}/*.parquet"}
            for name in tables
        ],
    }


def hub_licence(licence: str) -> str:
    """The name that Hugging Face has for an SPDX id, or 'other'."""
    return LICENCE_NAMES.get(licence) or (licence.lower() if CREATIVE_COMMONS.fullmatch(licence) else "other")


def parts_table(connection: duckdb.DuckDBPyConnection) -> str:
    counts = rows(
        connection,
        """select modality, count(*) as parts, count(*) filter (where target) as targets,
           count(distinct asset_id) filter (where modality <> 'text') as media
           from parts group by modality order by modality""",
    )
    seconds = {
        row["modality"]: row["hours"]
        for row in rows(
            connection,
            """select modality, sum(duration_s) / 3600 as hours from assets
               where asset_id in (select asset_id from parts) and duration_s is not null group by modality""",
        )
    }
    lines = [
        [r["modality"], r["parts"], r["targets"], r["media"] or "", hours(seconds.get(r["modality"]))] for r in counts
    ]
    return table(["modality", "parts", "of them targets", "different media", "hours of these"], lines)


def demos_table(connection: duckdb.DuckDBPyConnection) -> str:
    counts = rows(connection, "select n_demos, split, count(*) as n from samples group by all order by all")
    return crossed(counts, "n_demos", "split", SPLITS, "demonstrations")


def corpora_table(connection: duckdb.DuckDBPyConnection) -> str:
    works = rows(
        connection,
        """select corpus, description, source, version, string_agg(distinct licence, ', ' order by licence) as licence,
                   count(*) as works, count(distinct author) as authors
            from works group by all order by corpus""",
    )
    return table(
        ["corpus", "what", "source", "version", "licence", "works", "authors"],
        ([r["corpus"], r["description"], f"`{r['source']}`", r["version"], r["licence"], r["works"], r["authors"]]
         for r in works),
    )  # fmt: skip


def licences_table(connection: duckdb.DuckDBPyConnection) -> str:
    counts = rows(
        connection,
        """with of_works as (select licence, count(*) as works from works group by 1),
            of_samples as (select licence, count(*) as samples from samples group by 1)
            select licence, coalesce(works, 0) as works, coalesce(samples, 0) as samples
            from of_works full join of_samples using (licence) order by licence""",
    )
    lines = ([linked(r["licence"]), r["works"], r["samples"]] for r in counts)
    return table(["licence", "works", "samples named after it"], lines)


def rejects_table(connection: duckdb.DuckDBPyConnection) -> str:
    counts = rows(
        connection,
        """select stage, op, coalesce(reason, error, 'failed') as reason, count(*) as n from rejects
           group by all order by stage, op, n desc, reason""",
    )
    return table(["stage", "operator", "reason", "rows"], ([r["stage"], r["op"], r["reason"], r["n"]] for r in counts))


def crossed(
    counted: Iterable[Mapping[str, Any]], name: str, column: str, wanted: tuple[str, ...], title: str | None = None
) -> str:
    """Counts `n` of each `name` by `column`, with a total."""
    counts: dict[Any, dict[str, int]] = {}
    for row in counted:
        counts.setdefault(row[name], {})[row[column]] = row["n"]
    lines = [[key, *(by.get(kind, 0) for kind in wanted), sum(by.values())] for key, by in counts.items()]
    return table([title or name, *wanted, "all"], lines)


def table(head: list[str], lines: Iterable[Iterable[Any]]) -> str:
    """A Markdown table. Bars in values are escaped, because they would end the cell."""
    body = ["| " + " | ".join(cell(value) for value in line) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body]) if body else "None."


def cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def linked(licence: str | None) -> str:
    link = text_of(licence or "")
    return f"[{licence}]({link})" if link else licence or "none"


def hours(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def in_bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
