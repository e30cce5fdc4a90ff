"""The commands that make models and judge them: train, evaluate, retrain, speedrun, demo."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from codi2_flows.cli.common import (
    AT_LEAST_1,
    CONFIGS,
    CPUS,
    DEFAULT_ROOT,
    RECIPES,
    Build,
    Limit,
    Root,
    Workers,
    name_model,
)
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_early
from codi2_storage.catalog.catalog import Catalog

Start = Annotated[
    str, Parameter(help="Weights to begin with: scratch, champion (the model in place), or a checkpoint's id.")
]


def train(
    config: Annotated[str, Parameter(help=CONFIGS)],
    *,
    root: Root = DEFAULT_ROOT,
    build: Build = None,
    workers: Annotated[Workers, Parameter(help="Ray Train workers.")] = 1,
    start: Start = "scratch",
) -> None:
    """Train the model on a dataset version, resuming where an earlier run stopped. Prints the checkpoint last."""
    from codi2_datasets.pretrained.packages import require
    from codi2_model.training.config import TrainConfig
    from codi2_model.training.packages import packages_of
    from codi2_model.training.pipeline_stage import build_to_train, check_tasks, resolve_start, train_tasks
    from codi2_storage.store import Store

    parsed = TrainConfig.from_yaml(config)
    require(f"config {config}", packages_of(parsed))
    catalog = Catalog(root)
    build_id = build_to_train(catalog, build)
    check_tasks(parsed, train_tasks(catalog, build_id), f"build {build_id}")
    resolve_start(Store(root), start, parsed)  # weights that do not fit are known before any work
    start_early()
    from codi2_flows.train_model import train_model

    print(train_model(config, root, build_id if build else None, workers, start))


def evaluate(
    checkpoint: Annotated[str | None, Parameter(help="Checkpoint folder; the promoted one if left out.")] = None,
    *,
    root: Root = DEFAULT_ROOT,
    build: Build = None,
    limit: Annotated[
        Limit, Parameter(help="Test samples a task: 24 of the short suite, 100 of open, else all.")
    ] = None,
    seed: int = 0,
    suite: Annotated[
        str, Parameter(help="short, open (every task), or published: dreambench, cobsat, coco30k, audiocaps, audit.")
    ] = "short",
    task: Annotated[list[str] | None, Parameter(help="Of the open suite these tasks alone.")] = None,
    data: Annotated[str | None, Parameter(help="Folder with a published suite's data.")] = None,
    weights: Annotated[str | None, Parameter(help="Folder with a published suite's judges.")] = None,
    report: Annotated[str | None, Parameter(help="Measure nothing: write figures, model card and sheets here.")] = None,
) -> None:
    """Judge a checkpoint on the held-out split, beside its baselines. Prints where the page lies last."""
    from codi2_model.checkpoints.registry import resolve_named

    found = resolve_named(root, checkpoint)
    folder = str(found.folder)
    build = Catalog(root).named(build) if build else None
    if report is not None:
        from codi2_model.evaluation.report.report import write_report

        print(write_report(folder, root, report, build))
        return
    from codi2_flows.runtime.checks import check_evaluation

    check_evaluation(root, build, suite, task, data, weights)
    name_model(found)
    start_early()
    from codi2_flows.evaluate_model import evaluate_model

    result = evaluate_model(folder, root, build, limit, seed, suite, task, data, weights)
    show_metrics(result["rows"])
    print(result["page"])


def retrain(
    recipe: Annotated[str, Parameter(help=RECIPES)],
    *,
    config: Annotated[str, Parameter(help=CONFIGS)] = "demo",
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[Limit, Parameter(help="As for build.")] = None,
    start: Start = "scratch",
    metric: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="What has to be better: a metric, or task:metric; repeatable. If left out feature_top1, or where no sample has "
            "it target_similarity, else token_f1.",
        ),
    ] = None,
    guard: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="What must not fall; repeatable, `none` for nothing. answered, concept_top1, target_similarity and "
            "token_f1 if left out.",
        ),
    ] = None,
    gate_samples: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Held-out samples a task on which both models are compared.")
    ] = 24,
) -> None:
    """Build, train, evaluate; promote the new model only if it is better than the one in place.

    Better: both answer the same held-out samples, and the 95 % interval of the paired gain (bootstrap) lies above 0 for every
    --metric and below 0 for no --guard.
    """
    from codi2_flows.runtime.checks import ready
    from codi2_model.evaluation.gate import Gate

    ready(root, recipe, config, start, Gate.of(metric, guard, gate_samples))
    start_early()
    from codi2_flows.retrain import retrain as flow

    summary = flow(
        recipe, config, root, workers, limit, start=start, metric=metric, guard=guard, gate_samples=gate_samples
    )
    show_metrics(summary.pop("metrics"))
    columns, cells = summary.pop("gate").table()
    if cells:
        show([dict(zip(columns, row, strict=True)) for row in cells], columns)
    show([{"": key, " ": value} for key, value in summary.items()], ["", " "])


def speedrun(
    *,
    recipe: Annotated[str, Parameter(help=RECIPES)] = "full",
    config: Annotated[str, Parameter(help=f"{CONFIGS} cpu takes an hour of two cores.")] = "cpu",
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[int, Parameter(validator=AT_LEAST_1, help="Held-out samples a task of the evaluation.")] = 100,
    out: Annotated[str | None, Parameter(help="Also copy the weights and their card here.")] = None,
) -> None:
    """From nothing to a model: dataset, training, weights made small, every figure, the card. Goes on where it stopped."""
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_model.training.config import TrainConfig

    check_pipeline(load_recipe(recipe), TrainConfig.from_yaml(config))
    start_early()
    from codi2_flows.speedrun import speedrun as flow

    show([{"": key, " ": value} for key, value in flow(recipe, config, root, workers, limit, out).items()], ["", " "])


def demo(*, root: Root = DEFAULT_ROOT, workers: Workers = CPUS) -> None:
    """Everything once, small: corpora, dataset, training, evaluation, a served request; says where to look."""
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_model.training.config import TrainConfig

    check_pipeline(load_recipe("demo"), TrainConfig.from_yaml("demo"))
    start_early()
    from codi2_flows.demo import run_demo

    run_demo(root, workers)


def show_metrics(rows: list[dict]) -> None:
    """Metrics with their baselines side by side."""
    lines: dict[tuple, dict] = {}
    for row in rows:
        line = lines.setdefault((row["task"], row["metric"]), {"task": row["task"], "metric": row["metric"]})
        line[row["baseline"] or "model"] = row["value"]
        if not row["baseline"]:
            line |= {"n": row["n"], "95 %": f"{row['low']:.2f}-{row['high']:.2f}" if row["low"] is not None else "-"}
    names = sorted({row["baseline"] for row in rows if row["baseline"]})
    show([lines[key] for key in sorted(lines)], ["task", "metric", "n", "model", "95 %", *names])


MODEL_COMMANDS = (train, evaluate, retrain, speedrun, demo)
