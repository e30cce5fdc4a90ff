"""The keys of a recipe, as dataclasses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_storage.errors import UsageError

PLACES = ("segment", "ontology")  # corpus options that are paths: the content of the files counts, not where they are


class RecipeError(UsageError):
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
    """Reject assets of a modality for which the SQL expression `reject` is true, with that reason.

    The expression uses the signals by name and the columns of `assets`, such as `caption`, `source_width` and `bytes`.
    """

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
