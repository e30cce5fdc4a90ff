"""The commands that build datasets, look at them and hand them on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter

from codi2_flows.cli.common import CPUS, DEFAULT_ROOT, RECIPES, Build, Limit, Port, Root, Workers, check_folder
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_early


def corpora(*, root: Root = DEFAULT_ROOT) -> None:
    """List the corpora: licence, source, size, the tasks each feeds, fetched or not."""
    from codi2_datasets.build import corpus_list

    rows = corpus_list(root)
    for row in rows:
        row["rows"] = f"{row['rows']:,}" if row["rows"] is not None else "not fetched"
    show(rows, ["corpus", "licence", "rows", "size", "tasks", "source"])


def build(
    recipe: Annotated[str, Parameter(help=RECIPES)],
    *,
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[Limit, Parameter(help="At most N rows a corpus, and N samples a task and split.")] = None,
    refresh: Annotated[bool, Parameter(negative="", help="Ask for newer versions of packages first.")] = False,
) -> None:
    """Build a dataset version. A rerun does only what is missing. The build id is printed last."""
    from codi2_datasets.recipe import load_recipe

    parsed = load_recipe(recipe)  # a bad one is known before anything starts
    start_early()
    from codi2_datasets.build import check_recipe

    check_recipe(parsed)
    from codi2_flows.build_dataset import build_dataset

    print(build_dataset(recipe, root, workers, limit, refresh))


def query(
    sql: Annotated[str, Parameter(help="One SELECT over the tables of the catalog.")],
    *,
    root: Root = DEFAULT_ROOT,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON array of objects.")] = False,
    build: Build = None,
    all_builds: Annotated[bool, Parameter(negative="", help="Rows of every build.")] = False,
) -> None:
    """Read-only SQL over the catalog. Try: select task, split, count(*) from samples group by all"""
    from codi2_storage.catalog.catalog import Catalog, explained

    catalog = Catalog(root)
    if not catalog.commits:
        print(f"nothing is recorded under {root}: every table is empty", file=sys.stderr)
    with catalog.stream(sql, build=build, all_builds=all_builds) as reader, explained():
        rows = (row for batch in reader for row in batch.to_pylist())
        if json_:
            print_json_array(rows)
        else:
            show(rows, reader.schema.names)


def explain(
    sample: Annotated[str, Parameter(help="Sample id, or its first characters.")],
    *,
    root: Root = DEFAULT_ROOT,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Everything as JSON.")] = False,
    build: Build = None,
) -> None:
    """Where a sample comes from: corpus, package version, file in the package, licence, every operator."""
    from codi2_flows.cli.output.explain import tell
    from codi2_storage.catalog.lineage import explain as trace

    found = trace(root, sample, build)
    print(json.dumps(found, default=str, ensure_ascii=False, indent=1) if json_ else tell(found))


def diff(
    old: Annotated[str, Parameter(help="Build: an id, its beginning, or latest.")],
    new: Annotated[str, Parameter(help="Build: an id, its beginning, or latest.")],
    *,
    root: Root = DEFAULT_ROOT,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Everything as JSON.")] = False,
) -> None:
    """What changed between two builds: recipe, corpora, operators, rows, assets, samples, rejects, shards."""
    from codi2_flows.cli.output.diff import tell
    from codi2_storage.catalog.diff import diff as compare

    found = compare(root, old, new).to_dict()
    if json_:
        print(json.dumps(found, default=str, ensure_ascii=False, indent=1))
        return
    print(tell(found))


def forget(
    rows: Annotated[list[str], Parameter(help="Source rows, by id or as corpus:locator.")],
    *,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Opt-out: remove works and every sample that showed them, as a new build. The build id is printed last."""
    from codi2_datasets.opt_out import forget as take_out
    from codi2_datasets.opt_out import forget_summary

    build_id = take_out(root, rows)
    print(forget_summary(root, build_id), file=sys.stderr)
    print(build_id)


def export(
    build: Annotated[str, Parameter(help="Build: an id, its beginning, or latest.")],
    *,
    format_: Annotated[str, Parameter(name="--format", help="webdataset, trl, llava, mimic_it, obelics or energon.")],
    out: Annotated[str, Parameter(validator=check_folder, help="Folder or fsspec URI to write to.")],
    root: Root = DEFAULT_ROOT,
    task: Annotated[
        list[str] | None, Parameter(negative="", help="These tasks alone; may be given several times.")
    ] = None,
    split: Annotated[list[str] | None, Parameter(negative="", help="These splits alone.")] = None,
    limit: Annotated[Limit, Parameter(help="At most N samples of each task and split.")] = None,
) -> None:
    """Write a build in another format. What the format cannot hold is counted, printed and left in loss.json."""
    from codi2_datasets.exports.exporting import export as write_out

    show_loss(write_out(root, build, format_, out, task or (), split or (), limit).to_dict())
    print(out)


def import_(
    folder: Annotated[str, Parameter(help="Folder or fsspec URI in that format, ours or of others.")],
    *,
    format_: Annotated[str, Parameter(name="--format", help="webdataset, trl, llava, mimic_it, obelics or energon.")],
    out: Annotated[str, Parameter(validator=check_folder, help="Folder for WebDataset shards of our samples.")],
    task: Annotated[str, Parameter(help="Task of samples that do not say it.")] = "visual_question_answering",
    licence: Annotated[str, Parameter(help="Licence of samples that do not say it.")] = "unknown",
) -> None:
    """Read another format into shards of our samples. What had to be assumed is counted."""
    from codi2_datasets.exports import Reading
    from codi2_datasets.exports.exporting import import_folder

    show_loss(import_folder(folder, format_, out, Reading(task, licence)).to_dict())
    print(out)


def print_json_array(rows: Iterable[dict[str, Any]]) -> None:
    """One JSON array of objects, written as the rows come. Letters that the output's encoding lacks are escaped."""
    ascii_alone = "utf" not in (sys.stdout.encoding or "").lower()
    sys.stdout.write("[")
    for number, row in enumerate(rows):
        sys.stdout.write(f"{', ' if number else ''}{json.dumps(row, default=str, ensure_ascii=ascii_alone)}")
    sys.stdout.write("]\n")


def show_loss(loss: dict) -> None:
    """What was written, and what was not, on standard error: the folder is the result."""
    print(f"{loss['written']:,} samples", file=sys.stderr)
    for kind, counts in (("left out", loss["left_out"]), ("lost", loss["lost"])):
        for name, number in counts.items():
            print(f"{kind}: {number:,} {name}", file=sys.stderr)


def browse(
    *,
    root: Root = DEFAULT_ROOT,
    port: Annotated[Port, Parameter(help="On the loopback address; 0: any free one.")] = 8765,
    build: Build = None,
    static: Annotated[str | None, Parameter(help="Write a folder that needs no server instead.")] = None,
    samples: Annotated[int, Parameter(help="Samples in a static folder.")] = 300,
) -> None:
    """Look at a root: samples as conversations and where each comes from, rejects, statistics; runs, decisions, models."""
    if static is not None:
        from codi2_datasets.browse.static_export import export_static

        print(export_static(root, static, build, samples))
        return
    from codi2_datasets.browse.server import serve

    serve(root, port, build)


DATA_COMMANDS = (corpora, build, query, explain, diff, forget, export, import_, browse)
