"""The model commands: train, evaluate, retrain, speedrun, demo."""

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
    Overrides,
    Root,
    Workers,
    print_model,
)
from codi2_flows.cli.output.metrics import show_metrics
from codi2_flows.cli.output.tables import show
from codi2_flows.runtime.temporary_server import start_server
from codi2_model.evaluation.bench.profiles import PROFILES, QUICK
from codi2_storage.catalog.catalog import Catalog

Start = Annotated[
    str,
    Parameter(
        help="Initial weights: scratch, champion (the promoted model), shipped, or a checkpoint by its id or folder."
    ),
]


def train(
    config: Annotated[str, Parameter(help=CONFIGS)],
    *,
    root: Root = DEFAULT_ROOT,
    build: Build = None,
    workers: Annotated[Workers, Parameter(help="Number of Ray Train workers.")] = 1,
    start: Start = "scratch",
    set_: Annotated[
        Overrides, Parameter(help="Setting that overrides the config's: mllm.steps=50; repeatable.")
    ] = None,
) -> None:
    """Train the model on a dataset version.

    A rerun resumes where an earlier one stopped. The last line of output is the path of the checkpoint.
    """
    from codi2_datasets.pretrained.packages import require
    from codi2_model.tracking import chosen_trackers
    from codi2_model.training.config import TrainConfig
    from codi2_model.training.packages import packages_of
    from codi2_model.training.pipeline_stage import build_to_train, check_tasks, resolve_start, train_tasks
    from codi2_storage.store import Store

    chosen_trackers()  # a mistake is reported before any work
    settings = tuple(set_ or ())
    parsed = TrainConfig.from_yaml(config, settings)
    require(f"config {config}", packages_of(parsed))
    catalog = Catalog(root)
    build_id = build_to_train(catalog, build)
    check_tasks(parsed, train_tasks(catalog, build_id), f"build {build_id}")
    resolve_start(Store(root), start, parsed)  # weights that do not fit are reported before any work
    start_server()
    from codi2_flows.train_model import train_model

    print(train_model(config, root, build_id if build else None, workers, start, settings))


def evaluate(
    checkpoint: Annotated[
        str | None, Parameter(help="Checkpoint: folder, id or `shipped`. Default: the promoted model.")
    ] = None,
    *,
    root: Root = DEFAULT_ROOT,
    build: Build = None,
    limit: Annotated[
        Limit,
        Parameter(
            help="Test samples of each task. Default: 16 in the suite quick, 100 in open, all in published suites."
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="Seed of the generations.")] = 0,
    suite: Annotated[
        str,
        Parameter(
            help="quick; open (also prompts with fewer, no and foreign demonstrations); or a published suite: dreambench, "
            "cobsat, coco30k, audiocaps, audit."
        ),
    ] = "quick",
    task: Annotated[
        list[str] | None, Parameter(help="Task of the suites quick and open; repeatable. Default: all tasks.")
    ] = None,
    data: Annotated[str | None, Parameter(help="Folder with the data of a published suite.")] = None,
    weights: Annotated[str | None, Parameter(help="Folder with the judges of a published suite.")] = None,
    report: Annotated[
        str | None,
        Parameter(help="Write figures, model card and contact sheets to this folder, without an evaluation."),
    ] = None,
) -> None:
    """Evaluate a checkpoint on the held-out split, with baselines.

    The last line of output is the path of the evaluation page.
    """
    from codi2_model.checkpoints.registry import resolve_named

    model = resolve_named(root, checkpoint)
    folder = str(model.folder)
    build = Catalog(root).named(build) if build else None
    if report is not None:
        from codi2_model.evaluation.report.report import write_report

        print(write_report(folder, root, report, build))
        return
    from codi2_flows.runtime.checks import check_evaluation
    from codi2_model.tracking import chosen_trackers

    chosen_trackers()
    check_evaluation(root, build, suite, task, data, weights)
    print_model(model)
    start_server()
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
    limit: Annotated[Limit, Parameter(help="Limit of the build, as in `codi2 build`.")] = None,
    start: Start = "scratch",
    metric: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Metric (`name` or `task:name`) that the candidate must improve; repeatable. Default: the first of "
            "edit@1, concept@1, names_truth, token_f1, lsd and motion_agreement that the samples have.",
        ),
    ] = None,
    guard: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Metric that must not get worse; repeatable; `none` for no guard. Default: answered, concept@1, "
            "similarity and token_f1.",
        ),
    ] = None,
    gate_samples: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Held-out samples of each task for the comparison.")
    ] = PROFILES[QUICK].limit,
) -> None:
    """Build, train and evaluate a candidate, and promote it only if it is better than the champion.

    The default config `demo` trains a very small model within minutes. Both models answer the same held-out samples. The candidate is better if the 95 % interval of the paired gain
    (bootstrap) is above 0 for every --metric, and below 0 for no --guard.
    """
    from codi2_flows.runtime.checks import check_retrain
    from codi2_model.evaluation.gate import Gate

    check_retrain(root, recipe, config, start, Gate.of(metric, guard, gate_samples))
    start_server()
    from codi2_flows.retrain import retrain as flow
    from codi2_model.evaluation.report.figures import main_rows

    summary = flow(
        recipe, config, root, workers, limit, start=start, metric=metric, guard=guard, gate_samples=gate_samples
    )
    show_metrics(main_rows(summary.pop("metrics")))
    columns, cells = summary.pop("gate").table()
    if cells:
        show([dict(zip(columns, row, strict=True)) for row in cells], columns)
    show([{"": key, " ": value} for key, value in summary.items()], ["", " "])


def speedrun(
    *,
    recipe: Annotated[str, Parameter(help=RECIPES)] = "open",
    config: Annotated[
        str, Parameter(help=f"{CONFIGS} small: half a day on two cores; cpu: an hour, with blurred images.")
    ] = "small",
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[
        int, Parameter(validator=AT_LEAST_1, help="Held-out samples of each task in the evaluation.")
    ] = 100,
    out: Annotated[str | None, Parameter(help="Also copy the weights and the model card to this folder.")] = None,
) -> None:
    """Make a model from scratch: dataset, training, weights in bfloat16, evaluation, model card.

    A rerun continues where the last one stopped.
    """
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_model.training.config import TrainConfig

    check_pipeline(load_recipe(recipe), TrainConfig.from_yaml(config))
    start_server()
    from codi2_flows.speedrun import speedrun as flow

    show([{"": key, " ": value} for key, value in flow(recipe, config, root, workers, limit, out).items()], ["", " "])


def demo(*, root: Root = DEFAULT_ROOT, workers: Workers = CPUS) -> None:
    """Run the whole pipeline at a small size: corpora, dataset, training, evaluation, one served request.

    Prints where the results are.
    """
    from codi2_datasets.recipe import load_recipe
    from codi2_flows.runtime.checks import check_pipeline
    from codi2_model.training.config import TrainConfig

    check_pipeline(load_recipe("demo"), TrainConfig.from_yaml("demo"))
    start_server()
    from codi2_flows.cli.demo import run_demo

    run_demo(root, workers)


MODEL_COMMANDS = (train, evaluate, retrain, speedrun, demo)
