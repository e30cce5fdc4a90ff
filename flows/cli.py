"""The `codi2` command. Each command is thin: it calls a flow or a library function and prints the result.

Exit status: 0 done, 1 failed, 2 bad usage. Errors are one line; `--debug` shows the trace.
"""

from __future__ import annotations

import codi2_flows.settings  # noqa: F401  isort: skip  (before Prefect)
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from codi2_flows.cli_common import CPUS, DEFAULT_ROOT, Root, Workers, show
from codi2_flows.cli_data import DATA_COMMANDS, import_
from codi2_flows.cli_fetch import FETCH_COMMANDS
from codi2_flows.cli_keep import KEEP_COMMANDS
from codi2_flows.cli_lineage import LINEAGE_COMMANDS
from codi2_flows.cli_reproduce import REPRODUCE_COMMANDS
from codi2_flows.cli_runs import RUN_COMMANDS
from codi2_flows.cli_serve import SERVE_COMMANDS
from codi2_flows.cli_server import SERVER_COMMANDS
from codi2_flows.ephemeral import start_early
from codi2_flows.errors import one_line
from codi2_storage.lineage import code_version
from codi2_storage.stopping import Stopping, leave, listen

Start = Annotated[
    str, Parameter(help="Weights to begin with: scratch, champion (the model in place), or a checkpoint's id.")
]

app = App(
    name="codi2",
    help="CoDi-2, open: build the in-context multimodal dataset, train, evaluate and serve the model.",
    help_epilogue="Add --debug to any command to see the whole trace of an error.",
    version=code_version,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `main` says what a stop means
)

for command in (
    *DATA_COMMANDS,
    *FETCH_COMMANDS,
    *KEEP_COMMANDS,
    *LINEAGE_COMMANDS,
    *REPRODUCE_COMMANDS,
    *RUN_COMMANDS,
    *SERVE_COMMANDS,
    *SERVER_COMMANDS,
):
    app.command(command)
app.command(import_, name="import")


@app.command
def train(
    config: Annotated[str, Parameter(help="Training config file, or the name of a shipped one: demo.")],
    *,
    root: Root = DEFAULT_ROOT,
    build: Annotated[str | None, Parameter(help="Dataset version; the latest if left out.")] = None,
    workers: Annotated[int, Parameter(help="Ray Train workers.")] = 1,
    start: Start = "scratch",
) -> None:
    """Train the model on a dataset version, resuming where an earlier run stopped. Prints the checkpoint last."""
    from codi2_model.training.config import TrainConfig
    from codi2_model.training.stage import start_of
    from codi2_storage.store import Store

    start_of(Store(root), start, TrainConfig.from_yaml(config))  # weights that do not fit are known before any work
    start_early()
    from codi2_flows.train_model import train_model

    print(train_model(config, root, build, workers, start))


@app.command
def evaluate(
    checkpoint: Annotated[str | None, Parameter(help="Checkpoint folder; the promoted one if left out.")] = None,
    *,
    root: Root = DEFAULT_ROOT,
    build: Annotated[str | None, Parameter(help="Dataset version; the latest if left out.")] = None,
    limit: Annotated[
        int | None, Parameter(help="Test samples a task: 24 of the short suite, 100 of open, else all.")
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
    from codi2_model.checkpoints import resolve

    folder = str(resolve(root, checkpoint))
    if report is not None:
        from codi2_model.evaluation.bench.report import write_report

        print(write_report(folder, root, report, build))
        return
    start_early()
    from codi2_flows.evaluate_model import SAMPLES, evaluate_model

    if suite not in SAMPLES:
        from codi2_model.evaluation.suites.running import ready

        ready(suite, data, weights)
    result = evaluate_model(folder, root, build, limit, seed, suite, task, data, weights)
    show_metrics(result["rows"])
    print(result["page"])


@app.command
def retrain(
    recipe: Annotated[str, Parameter(help="Recipe file, or the name of a shipped one: demo.")],
    *,
    config: Annotated[str, Parameter(help="Training config.")] = "demo",
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[int | None, Parameter(help="As for build.")] = None,
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
    gate_samples: Annotated[int, Parameter(help="Held-out samples a task on which both models are compared.")] = 24,
) -> None:
    """Build, train, evaluate; promote the new model only if it is better than the one in place.

    Better: both answer the same held-out samples, and the 95 % interval of the paired gain (bootstrap) lies above 0 for every
    --metric and below 0 for no --guard.
    """
    from codi2_datasets.recipe import load_recipe
    from codi2_model.training.config import TrainConfig

    load_recipe(recipe)  # what is asked for wrongly is said at once, the rest by `ready`
    TrainConfig.from_yaml(config)
    start_early()
    from codi2_flows.retrain import ready
    from codi2_flows.retrain import retrain as flow
    from codi2_model.evaluation.gate import Gate

    gate = Gate.of(metric, guard, gate_samples)
    ready(root, recipe, config, start, gate)
    summary = flow(
        recipe, config, root, workers, limit, start=start, metric=metric, guard=guard, gate_samples=gate_samples
    )
    show_metrics(summary.pop("metrics"))
    columns, cells = summary.pop("gate").table()
    if cells:
        show([dict(zip(columns, row, strict=True)) for row in cells], columns)
    show([{"": key, " ": value} for key, value in summary.items()], ["", " "])


@app.command
def speedrun(
    *,
    recipe: Annotated[str, Parameter(help="Recipe of the dataset.")] = "full",
    config: Annotated[str, Parameter(help="Training config: cpu (an hour of two cores), gpu, or a file.")] = "cpu",
    root: Root = DEFAULT_ROOT,
    workers: Workers = CPUS,
    limit: Annotated[int, Parameter(help="Held-out samples a task of the evaluation.")] = 100,
    out: Annotated[str | None, Parameter(help="Also copy the weights and their card here.")] = None,
) -> None:
    """From nothing to a model: dataset, training, weights made small, every figure, the card. Goes on where it stopped."""
    from codi2_model.training.config import TrainConfig

    TrainConfig.from_yaml(config)
    start_early()
    from codi2_flows.speedrun import speedrun as flow

    show([{"": key, " ": value} for key, value in flow(recipe, config, root, workers, limit, out).items()], ["", " "])


@app.command
def demo(*, root: Root = DEFAULT_ROOT, workers: Workers = CPUS) -> None:
    """Everything once, small: corpora, dataset, training, evaluation, a served request; says where to look."""
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


def main() -> None:
    """The program: signals end it in bounded time, and so does the interpreter, whose teardown would take seconds after torch."""
    stopping = listen()
    leave(run(sys.argv[1:], stopping))


def run(given: Sequence[str], stopping: Stopping) -> int:
    """Run one command. Errors are one line on stderr; returns the exit status of the contract."""
    arguments = [argument for argument in given if argument != "--debug"]
    debug = len(arguments) < len(given)
    if debug:
        os.environ["CODI2_DEBUG"] = "1"
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        if stopping.signal is not None or isinstance(error, KeyboardInterrupt):  # whatever came of it on the way out
            stopping.say("codi2: stopped; run the same command again to go on")
            return 1
        if isinstance(error, CycloptsError):
            print(f"codi2: {error}\nTry: codi2 {arguments[0] if arguments else ''} --help", file=sys.stderr)
            return 2
        if debug or not isinstance(error, Exception):
            traceback.print_exc()
            return 1
        print(f"codi2: {first_line(error)}", file=sys.stderr)
        return 2 if is_usage(error) else 1


def is_usage(error: Exception) -> bool:
    """Mistakes in what the user gave: a recipe, a config, a query."""
    return type(error).__name__ in {
        "RecipeError",
        "ConfigError",
        "CatalogError",
        "UsageError",
        "DeployError",
        "WebhookError",
        "ForgetError",
        "ExportError",
        "BrowseError",
        "RunError",
        "FetchError",
        "SuiteError",
        "WeightsMissing",
        "StartError",
        "FileNotFoundError",
    }


def first_line(error: Exception) -> str:
    """An error as one line, Prefect's client's in words of ours."""
    line = one_line(error)
    if type(error).__module__.partition(".")[0] in {"httpx", "httpcore"}:  # only Prefect's client speaks through these
        return f"Prefect's server does not answer ({line}); run the same command again to go on"
    return line


if __name__ == "__main__":
    main()
