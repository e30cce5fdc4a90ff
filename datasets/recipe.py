"""Recipes: which corpora, filters and tasks make up a dataset, and in what amounts.

Validated as a whole before any work.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import yaml

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.planning.licences import KNOWN

if TYPE_CHECKING:
    from codi2_datasets.tasks import Planner

PLACES = ("segment", "ontology")  # corpus options that are paths: the content of the files counts, not where they are


class RecipeError(ValueError):
    """A recipe cannot be used. The message names the file and the key at fault."""


@dataclass(frozen=True)
class CorpusChoice:
    """A corpus, or a connector with the path of the published files (see `codi2_datasets.connectors`)."""

    name: str
    optional: bool = False  # the build continues without it if its source is unavailable
    label: str = ""  # its name in the dataset, for a connector that is used twice
    path: str = ""  # path of the published files; $NAME is an environment variable
    media: str = ""  # path of the media, if they are elsewhere
    limit: int = 0  # maximum number of rows, from the first; 0 for all
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """The corpus name in the catalog."""
        return self.label or self.name

    def identity(self) -> dict[str, Any]:
        """The settings that determine the dataset.

        Paths are left out, since the files' content counts, and so are defaults.
        """
        options = {key: value for key, value in self.options.items() if key not in PLACES}
        more = {"label": self.label, "limit": self.limit, "options": options}
        return {"name": self.name, "optional": self.optional, **{key: value for key, value in more.items() if value}}


@dataclass(frozen=True)
class ImageSettings:
    size: int = 64  # pixels, square


@dataclass(frozen=True)
class AudioSettings:
    sample_rate: int = SAMPLE_RATE  # Hz, mono
    max_seconds: float = 10.0


@dataclass(frozen=True)
class VideoSettings:
    fps: int = 8
    max_seconds: float = 3.0


@dataclass(frozen=True)
class SignalChoice:
    """An operator and the corpora it measures; all corpora of its modality if none is named."""

    op: str
    corpora: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Reject assets of a modality for which the SQL expression `reject` over their signals is true, with that reason."""

    modality: str
    reject: str
    reason: str
    signal: str = ""  # the signal whose value is recorded as the score
    threshold: float | None = None


@dataclass(frozen=True)
class Duplicates:
    """Rule for near-duplicate assets of a modality, found `by` perceptual, minhash or semantic comparison.

    Near-duplicates are never each other's demonstration or edit, and never on two sides of a split. With `drop`, one of
    each group is kept.
    """

    modality: str
    by: str
    threshold: float | None = None  # share of equal shingles (minhash) or cosine (semantic); default if None
    drop: bool = False


@dataclass(frozen=True)
class EvaluationSet:
    """A folder of media or texts, as path or URI. Assets near any of its items are removed from the dataset."""

    name: str
    folder: str


@dataclass(frozen=True)
class Mixture:
    """Sampling weights beyond the tasks' own numbers. The default weight is 1; 0 excludes.

    With `total`, that many train samples are divided among the tasks by weight * candidates^(1 / temperature).
    """

    total: int = 0
    temperature: float = 1.0
    corpora: dict[str, float] = field(default_factory=dict)
    licences: dict[str, float] = field(default_factory=dict)
    languages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """Held-out shares. Concepts are held out with all their variants; combinations are (concept, style) pairs."""

    test_concepts: float = 0.08
    validation_concepts: float = 0.03
    test_combinations: float = 0.05
    validation_combinations: float = 0.02


@dataclass(frozen=True)
class TaskChoice:
    """Number of samples of a task, by split, and the planner's own options.

    `temperature` distributes them over the values of the planner's `balance`: evenly if None, in proportion to the
    candidates with 1.
    """

    train: int = 0
    validation: int = 0
    test: int = 0
    weight: float = 1.0  # of the task in a mixture with a total
    temperature: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardSettings:
    samples: int = 500  # maximum number of samples in a shard


@dataclass(frozen=True)
class Recipe:
    name: str
    seed: int
    corpora: tuple[CorpusChoice, ...]
    tasks: dict[str, TaskChoice]
    description: str = ""
    image: ImageSettings = ImageSettings()
    audio: AudioSettings = AudioSettings()
    video: VideoSettings = VideoSettings()
    signals: tuple[SignalChoice, ...] = (SignalChoice("picture"), SignalChoice("loudness"))
    mixture: Mixture = Mixture()
    licences: tuple[str, ...] = ()  # SPDX ids: works under any other licence are rejected; empty: all are accepted
    filters: tuple[Filter, ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    decontaminate: tuple[EvaluationSet, ...] = ()
    splits: Splits = Splits()
    shards: ShardSettings = ShardSettings()

    def digest(self) -> str:
        """Hash of the recipe's content, independent of the order and comments of the file and of where files are."""
        sets = [choice.name for choice in self.decontaminate]  # the content of the sets counts
        return digest(
            {**asdict(self), "corpora": [choice.identity() for choice in self.corpora], "decontaminate": sets}
        )[:16]

    def limited(self, limit: int | None) -> Recipe:
        """The recipe with at most `limit` samples of each task and split."""
        if limit is None:
            return self

        def few(task: TaskChoice) -> TaskChoice:
            counts = {name: min(getattr(task, name), limit) for name in ("train", "validation", "test")}
            return replace(task, **counts)

        mixture = replace(self.mixture, total=min(self.mixture.total, limit * len(self.tasks)))
        return replace(self, tasks={name: few(task) for name, task in self.tasks.items()}, mixture=mixture)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from YAML. Raises RecipeError for anything invalid; the message names the key."""
    file = find_recipe(path)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from error
    try:
        recipe = build(Recipe, data)
        check(recipe)
    except ValueError as error:
        raise RecipeError(f"{file}: {error}") from error
    return recipe


def recipe_of_spec(spec: str, where: str) -> Recipe:
    """The recipe in a build's row (`builds.spec`). Raises RecipeError if this code can no longer use it."""
    try:
        recipe = build(Recipe, json.loads(spec))
        check(recipe)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error
    return recipe


def find_recipe(path: str | Path) -> Path:
    """The file, or the shipped recipe of that name. Raises RecipeError if there is neither."""
    shipped = Path(__file__).parent / "recipes"
    for candidate in (Path(path), shipped / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    raise RecipeError(f"no recipe {path}: give a file, or one of the shipped ones: {names}")


def check(recipe: Recipe) -> None:
    """Checks beyond types: known corpora and tasks, valid shares and sizes. Raises ValueError."""
    from codi2_datasets.corpora import corpora
    from codi2_datasets.operators import operators
    from codi2_datasets.steps.dry_run import check_planner
    from codi2_datasets.tasks import planners

    known_tasks = planners()
    for choice in recipe.corpora:
        check_corpus(choice)
    names = [choice.corpus for choice in recipe.corpora]
    check_choices(recipe, {*corpora(), *names}, set(operators()))
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"corpora: {', '.join(doubled)} named twice")
    for name, task in recipe.tasks.items():
        if name not in known_tasks:
            raise ValueError(f"tasks: unknown task {name!r}; known: {', '.join(sorted(known_tasks))}")
        check_options(f"tasks.{name}.options", task.options, known_tasks[name])
        check_planner(known_tasks[name], task.options)
        if min(task.train, task.validation, task.test) < 0:
            raise ValueError(f"tasks.{name}: a number of samples is below zero")
    s = recipe.splits
    for share in asdict(s).items():
        if not 0 <= share[1] <= 0.5:
            raise ValueError(f"splits.{share[0]}: {share[1]} is not between 0 and 0.5")
    if not 8 <= recipe.image.size <= 1024:
        raise ValueError(f"image.size: {recipe.image.size} is not between 8 and 1024 pixels")
    if recipe.audio.sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"audio.sample_rate: {recipe.audio.sample_rate}, and the sample format knows {SAMPLE_RATE} Hz alone"
        )
    if recipe.shards.samples < 1:
        raise ValueError("shards.samples: at least 1")


def check_options(where: str, options: dict[str, Any], planner: Planner) -> None:
    """Check that the planner has these options, and the type and choices of their values. Raises ValueError."""
    from codi2_datasets.planning.demonstrations import STRATEGIES

    for key, value in options.items():
        if key not in planner.options:
            known = ", ".join(sorted(planner.options)) or "none"
            raise ValueError(f"{where}: unknown key {key!r}; known: {known}")
        build(type(planner.options[key]), value, f"{where}.{key}")
        choices = STRATEGIES if key == "pairing" else planner.choices.get(key)
        for one in value if isinstance(value, list) else [value]:
            if choices and one not in choices:
                raise ValueError(f"{where}.{key}: unknown {one!r}; known: {', '.join(choices)}")
    if planner.demos:
        least, most = ({**planner.options, **options}[key] for key in ("min_demos", "max_demos"))
        if not 0 <= least <= most:
            raise ValueError(f"{where}: min_demos {least} and max_demos {most}: need 0 <= min_demos <= max_demos")


def check_corpus(choice: CorpusChoice) -> None:
    """Check a choice: a known corpus with nothing but its name, or a connector with a path and known options."""
    from codi2_datasets.connectors import connectors
    from codi2_datasets.corpora import corpora

    if choice.name in corpora():
        if extra := next((key for key in ("label", "path", "media", "limit", "options") if getattr(choice, key)), None):
            raise ValueError(f"corpora: {choice.name} is fetched whole, and takes no {extra}")
        return
    if choice.name not in connectors():
        known = ", ".join([*corpora(), *connectors()])
        raise ValueError(f"corpora: unknown corpus {choice.name!r}; known: {known}")
    if not (choice.path or choice.media):
        raise ValueError(f"corpora: {choice.name} needs a path: where its published files lie")
    if choice.limit < 0 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", choice.corpus) or choice.label in corpora():
        raise ValueError(f"corpora: {choice.corpus}: a limit below zero, or a label that is taken or no plain name")
    allowed = {"licence": "", "segment": "", **connectors()[choice.name].options}
    if unknown := sorted(set(choice.options) - set(allowed)):
        raise ValueError(f"corpora: {choice.corpus}: unknown option {unknown[0]!r}; known: {', '.join(allowed)}")


def check_choices(recipe: Recipe, known_corpora: set[str], known_operators: set[str]) -> None:
    """Check the names in a recipe beside its corpora and tasks: signals, licences, mixture."""
    used = {choice.corpus for choice in recipe.corpora}

    def known(where: str, name: str, names: set[str]) -> None:
        if name not in names:
            raise ValueError(f"{where}: unknown {name!r}; known: {', '.join(sorted(names))}")

    for n, signal in enumerate(recipe.signals):
        known(f"signals[{n}].op", signal.op, known_operators)
        for corpus in signal.corpora:
            known(f"signals[{n}].corpora", corpus, known_corpora)
    check_duplicates(recipe, {signal.op for signal in recipe.signals})
    for n, licence in enumerate(recipe.licences):
        if not licence.startswith("LicenseRef-"):
            known(f"licences[{n}]", licence, set(KNOWN))
    mixture = recipe.mixture
    for corpus in mixture.corpora:
        known("mixture.corpora", corpus, used)
    weights = {**mixture.corpora, **mixture.licences, **mixture.languages}
    weights |= {name: task.weight for name, task in recipe.tasks.items()}
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"mixture: the weight of {name!r} is below zero")
    temperatures = [mixture.temperature, *(task.temperature or 1.0 for task in recipe.tasks.values())]
    if min(temperatures) <= 0 or mixture.total < 0:
        raise ValueError("mixture: temperature above zero, total not below zero")


def check_duplicates(recipe: Recipe, measured: set[str]) -> None:
    """Check that the signals which each duplicate rule compares are measured."""
    from codi2_datasets.steps.deduplicate import NEEDS

    for n, rule in enumerate(recipe.duplicates):
        if (rule.modality, rule.by) not in NEEDS:
            known = ", ".join(f"{modality} by {by}" for modality, by in NEEDS)
            raise ValueError(f"duplicates[{n}]: {rule.modality} by {rule.by} is not known; known: {known}")
        op = NEEDS[rule.modality, rule.by][0]
        if op not in measured:
            raise ValueError(
                f"duplicates[{n}]: {rule.modality} by {rule.by} needs the signal {op!r}: name it in signals"
            )
        if rule.threshold is not None and not (0 < rule.threshold <= 1 and rule.by != "perceptual"):
            raise ValueError(f"duplicates[{n}].threshold: from 0 to 1, and none for perceptual")
    for name, task in recipe.tasks.items():
        if task.options.get("pairing") == "nearest" and not measured & {"image_embedding", "audio_embedding"}:
            raise ValueError(
                f"tasks.{name}.options.pairing: nearest needs the signal image_embedding or audio_embedding"
            )


def build(kind: Any, data: Any, where: str = "") -> Any:
    """Convert plain YAML data to the dataclass `kind`.

    Unknown keys, missing keys and wrong types raise ValueError with the key.
    """
    label = where or "the file"
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(data, dict):
            raise ValueError(f"{label}: expected keys and values, found {_name(data)}")
        hints, known = get_type_hints(kind), {item.name: item for item in fields(kind)}
        for key in data:
            if key not in known:
                raise ValueError(f"unknown key {_join(where, key)!r}; known: {', '.join(known)}")
        for name, item in known.items():
            if name not in data and item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"key {_join(where, name)!r} is missing")
        return kind(**{key: build(hints[key], value, _join(where, key)) for key, value in data.items()})
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{label}: expected a list, found {_name(data)}")
        return tuple(build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise ValueError(f"{label}: expected keys and values, found {_name(data)}")
        return {str(key): build(arguments[1], value, _join(where, key)) for key, value in data.items()}
    if origin in (Union, UnionType):
        if data is None and type(None) in arguments:
            return None
        return build(next(a for a in arguments if a is not type(None)), data, where)
    if kind is Any:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is not bool and isinstance(data, bool)):
        raise ValueError(f"{label}: expected {kind.__name__}, found {_name(data)}")
    return data


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _name(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
