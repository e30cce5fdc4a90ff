"""The data commands: corpora, schema, build, query, explain, diff, forget, export, import, browse."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from codi2_flows.cli.common import (
    BUILD,
    CPUS,
    DEFAULT_ROOT,
    RECIPES,
    Build,
    Limit,
    Overrides,
    Port,
    Root,
    Workers,
    check_folder,
)
from codi2_flows.cli.output.json_output import Json, print_json
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_server

Format = Annotated[
    str,
    Parameter(
        name="--format",
        help="Format: webdataset, trl, llava, mimic_it, obelics, energon, bagel, lance, hf or dpo.",
    ),
]


def corpora(*, root: Root = DEFAULT_ROOT, json: Json = False) -> None:
    """List the corpora with licence, rows (if fetched), size, tasks and source."""
    from codi2_datasets.build import corpus_list

    rows = corpus_list(root)
    if json:
        print_json(rows)
        return
    for row in rows:
        row["rows"] = f"{row['rows']:,}" if row["rows"] is not None else "not fetched"
    show(rows, ["corpus", "licence", "rows", "size", "tasks", "source"])


def schema(kind: Annotated[Literal["recipe", "train"], Parameter(help="recipe, or train: a training config.")]) -> None:
    """Print the JSON Schema of recipes or training configs, by which editors complete and check YAML files.

    A file names it in its first line: # yaml-language-server: $schema=recipe.schema.json
    """
    from codi2_storage.typed_data import json_schema

    if kind == "recipe":
        from codi2_datasets.recipe_schema import Recipe

        print(json_schema(Recipe), end="")
    else:
        from codi2_model.training.config import TrainConfig

        print(json_schema(TrainConfig), end="")


def build(
    recipe: Annotated[str, Parameter(help=RECIPES)],
    *,
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[
        Limit, Parameter(help="Use at most N rows of each corpus and N samples of each task and split.")
    ] = None,
    refresh: Annotated[
        bool, Parameter(negative="", help="First look for newer versions of the corpora's packages.")
    ] = False,
    set_: Annotated[
        Overrides,
        Parameter(help="Setting that overrides the recipe's: tasks.text_to_image.train=50; repeatable."),
    ] = None,
) -> None:
    """Build a dataset version from a recipe.

    A rerun makes only what is missing or changed. The last line of output is the build id.
    """
    from codi2_datasets.build import Settings, check_recipe, published_build, say_changes
    from codi2_datasets.recipe import load_recipe
    from codi2_storage.store import Store

    settings = tuple(set_ or ())
    parsed = load_recipe(recipe, settings)  # errors appear before anything starts
    check_recipe(parsed)
    options = Settings(recipe, Store(root).uri(), workers, limit, settings)
    if not refresh and (built := published_build(options, parsed.name)):
        say_changes(built, options.root)
        print(built.build_id)
        return
    start_server()
    from codi2_flows.build_dataset import build_dataset

    print(build_dataset(recipe, root, workers, limit, refresh, settings))


def query(
    sql: Annotated[str, Parameter(help="One SELECT statement over the tables of the catalog.")],
    *,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
    build: Build = None,
    all_builds: Annotated[bool, Parameter(negative="", help="Query the rows of all builds.")] = False,
) -> None:
    """Run a read-only SQL query over the catalog.

    Example: codi2 query "select task, split, count(*) from samples group by all"
    """
    from codi2_storage.catalog.catalog import Catalog, explained

    catalog = Catalog(root)
    if not catalog.commits:
        print(f"--root {root}: the catalog is empty", file=sys.stderr)
    with catalog.stream(sql, build=build, all_builds=all_builds) as reader, explained():
        rows = (row for batch in reader for row in batch.to_pylist())
        if json:
            print_json(rows)
        else:
            show(rows, reader.schema.names)


def explain(
    sample: Annotated[str, Parameter(help="Sample id, or the first characters of it.")],
    *,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
    build: Build = None,
) -> None:
    """Show the lineage of a sample: corpus, package version, file, licence, and every operator."""
    from codi2_flows.cli.output.explain import format_lineage
    from codi2_storage.catalog.lineage import explain as trace

    lineage = trace(root, sample, build)
    if json:
        print_json(lineage)
    else:
        print(format_lineage(lineage))


def diff(
    old: Annotated[str, Parameter(help=BUILD)],
    new: Annotated[str, Parameter(help=BUILD)],
    *,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Compare two builds: recipe, corpora, operators, rows, assets, samples, rejects and shards."""
    from codi2_flows.cli.output.diff import format_diff
    from codi2_storage.catalog.diff import diff as compare

    changes = compare(root, old, new).to_dict()
    if json:
        print_json(changes)
    else:
        print(format_diff(changes))


def forget(
    rows: Annotated[list[str], Parameter(help="Source rows: ids, or corpus:locator.")],
    *,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Apply an opt-out: remove works, and every sample that uses them, as a new build.

    The last line of output is the build id.
    """
    from codi2_datasets.opt_out import forget as apply_opt_out
    from codi2_datasets.opt_out import forget_summary

    build_id = apply_opt_out(root, rows)
    print(forget_summary(root, build_id), file=sys.stderr)
    print(build_id)


def export(
    build: Annotated[str, Parameter(help=BUILD)],
    *,
    format_: Format,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder or fsspec URI to write to.")],
    root: Root = DEFAULT_ROOT,
    task: Annotated[
        list[str] | None, Parameter(negative="", help="Export only this task; repeatable. Default: all tasks.")
    ] = None,
    split: Annotated[
        list[str] | None, Parameter(negative="", help="Export only this split; repeatable. Default: all splits.")
    ] = None,
    limit: Annotated[Limit, Parameter(help="Export at most N samples of each task and split.")] = None,
) -> None:
    """Export a build to another format.

    Fields that the format cannot represent are counted, printed, and listed in loss.json of the output folder.
    """
    from codi2_datasets.exports.exporting import export as export_build

    print_loss(export_build(root, build, format_, out, task or (), split or (), limit).to_dict())
    print(out)


def known_task(kind: Any, value: str) -> None:
    """Validator of cyclopts for the name of a task. Raises ValueError."""
    from codi2_datasets.tasks import check_task

    check_task(value)


def import_(
    folder: Annotated[str, Parameter(help="Folder or fsspec URI with a dataset in the format.")],
    *,
    format_: Format,
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for the WebDataset shards.")],
    task: Annotated[
        str, Parameter(validator=known_task, help="Task of samples that have none.")
    ] = "visual_question_answering",
    licence: Annotated[str, Parameter(help="Licence of samples that have none.")] = "unknown",
) -> None:
    """Import a dataset in another format as WebDataset shards. Assumed values are counted and printed."""
    from codi2_datasets.exports import Reading
    from codi2_datasets.exports.exporting import import_folder

    print_loss(import_folder(folder, format_, out, Reading(task, licence)).to_dict())
    print(out)


def print_loss(loss: dict) -> None:
    """Print the number of samples written, left out and incomplete to standard error."""
    print(f"{loss['written']:,} samples", file=sys.stderr)
    for kind, counts in (("left out", loss["left_out"]), ("lost", loss["lost"])):
        for name, number in counts.items():
            print(f"{kind}: {number:,} {name}", file=sys.stderr)


def browse(
    *,
    root: Root = DEFAULT_ROOT,
    port: Annotated[Port, Parameter(help="Port on the loopback address. 0: any free port.")] = 8765,
    build: Build = None,
    static: Annotated[
        str | None, Parameter(help="Write static pages to this folder instead of starting a server.")
    ] = None,
    samples: Annotated[int, Parameter(help="Number of samples in static pages.")] = 300,
) -> None:
    """Browse a root in the web browser: samples, lineage, rejects, statistics, runs and models."""
    from codi2_flows.browse.views import VIEWS

    if static is not None:
        from codi2_datasets.browse.static_export import export_static

        print(export_static(root, static, build, samples, VIEWS))
        return
    from codi2_datasets.browse.server import serve

    serve(root, port, build, VIEWS)


DATA_COMMANDS = (corpora, schema, build, query, explain, diff, forget, export, import_, browse)
