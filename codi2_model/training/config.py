"""Training configuration: frozen dataclasses, read from YAML and validated whole before any work starts."""

from __future__ import annotations

import types
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

PRESETS = Path(__file__).parent.parent / "presets"
STAGES = ("align", "decoders", "mllm")


class ConfigError(ValueError):
    """A configuration breaks the rules; the message names the file and the key."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What every stage has. A stage with `steps: 0` is left out."""

    steps: int
    """Optimiser steps."""
    batch_size: int
    """Samples of one optimiser step, over all workers and accumulation steps together."""
    lr: float
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: for the matrices of hidden layers, beside adamw for the rest."""
    warmup: int = 0
    """Steps in which the learning rate rises linearly from zero."""
    schedule: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    """After the warm-up; wsd stays at `lr` and falls in a straight line over the last `decay` of the steps."""
    decay: float = 0.2
    final_lr: float = 0.0
    """Where the learning rate ends, as a part of `lr`."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    spike_factor: float = 0.0
    """Steps whose gradient norm exceeds this many times the median of the last ones are skipped; 0: none is."""
    ema: float = 0.0
    """Decay of a moving average of the trained weights, which is validated and kept at the stage's end; 0: none."""
    accumulation: int = 1
    """Backward passes for one optimiser step."""
    tasks: dict[str, float]
    """Task -> mixing weight: the chance that a sample of the batch is of this task."""
    early_tasks: dict[str, float] = field(default_factory=dict)
    """The mixing weights of the first `early_steps` steps, where they differ: a task that others build on may come first."""
    early_steps: int = 0
    loss_weights: dict[str, float] = field(default_factory=dict)
    """Loss name -> weight, for the losses that this stage has; what is not named weighs 1."""
    checkpoint_every: int = 0
    """Steps between checkpoints within the stage; 0: at its end alone."""
    eval_every: int = 0
    """Steps between evaluations on the validation split; 0: at its end alone."""
    eval_samples: int = 64
    """Validation samples a task of an evaluation; 0: none at all."""

    def __post_init__(self) -> None:
        for name in ("steps", "warmup", "early_steps", "checkpoint_every", "eval_every", "eval_samples"):
            _check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("batch_size", "accumulation"):
            _check(getattr(self, name) >= 1, name, "must be at least 1")
        _check(self.lr > 0, "lr", "must be above 0")
        for name in ("weight_decay", "clip", "final_lr", "spike_factor"):
            _check(getattr(self, name) >= 0, name, "must not be negative")
        _check(0 <= self.ema < 1, "ema", "must lie in [0, 1)")
        _check(0 < self.decay <= 1, "decay", "must lie in (0, 1]")
        _check(self.spike_factor == 0 or self.spike_factor > 1, "spike_factor", "must be above 1, or 0")
        _check(self.batch_size % self.accumulation == 0, "accumulation", "must divide batch_size")
        _check(bool(self.tasks) or self.steps == 0, "tasks", "must name a task")
        for name in ("tasks", "early_tasks"):
            for task, weight in getattr(self, name).items():
                _check(weight > 0, f"{name}.{task}", "must weigh more than 0")
        _check(set(self.early_tasks) <= set(self.tasks), "early_tasks", "must be among tasks")
        _check(bool(self.early_tasks) == bool(self.early_steps), "early_steps", "and early_tasks go together")
        for name, weight in self.loss_weights.items():
            _check(weight >= 0, f"loss_weights.{name}", "must not be negative")
            _check(name in self.losses(), f"loss_weights.{name}", f"is not one of {', '.join(self.losses())}")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, kw_only=True)
class AlignConfig(StageConfig):
    """Contrastive training of the encoders: each medium against the captions of the batch.

    With `reconstruct` in an encoder's options the losses `image_sketch` and so on hold its features to the medium itself.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(
            self.accumulation == 1, "accumulation", "must be 1: each medium is compared with the captions of its batch"
        )

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("image", "audio", "video", "image_sketch", "audio_sketch", "video_sketch")


@dataclass(frozen=True, kw_only=True)
class DecodersConfig(StageConfig):
    """Diffusion decoders learn to turn the features of the frozen encoders back into the medium.

    An edit's target is drawn from its own features with the query as reference, as it will be in generation.
    """

    from_captions: float = 0.0
    """The share of the media described by a caption that are drawn from the caption instead of from their own features: a
    decoder then learns words before there is a language model. With `caption_layers` in the model the caption reader reads it;
    without, the decoder gets the caption's features, which `align` brought close to the media's own."""
    caption_noise: float = 0.0
    """Standard deviation of the noise on a caption's text states (which have unit variance), against memorizing captions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0 <= self.from_captions <= 1, "from_captions", "must lie in [0, 1]")
        _check(self.caption_noise >= 0, "caption_noise", "must not be negative")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("image", "audio", "video")


@dataclass(frozen=True, kw_only=True)
class MllmConfig(StageConfig):
    """CoDi-2 itself: tokens, features and the diffusion loss through the frozen decoders.

    `loss_weights` replace those of the model config.
    """

    packed: bool = True
    """Put several samples into a row of at most the model's max_length, so that no step computes on padding."""
    diffusion_every: int = 1
    """Steps from one with a diffusion loss to the next: on a CPU it costs as much as all the rest of a step."""
    train_decoders: bool = False
    """Train the decoders too, on what the language model predicts: what a CPU can afford makes them sharper than features
    of true media ever would. False: they stay as the stage before left them, as published."""
    cache_features: bool = False
    """Encode each asset once, and keep its features (in `cache_mb` beside the media)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.diffusion_every >= 1, "diffusion_every", "must be at least 1")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("tokens", "feature_cosine", "feature_mse", "diffusion", "states")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    preset: str = "tiny"
    """Model preset, a file of codi2_model/presets."""
    model: dict[str, Any] = field(default_factory=dict)
    """Model settings that differ from the preset's."""
    seed: int = 0
    workers: int = 1
    """Threads that prepare batches ahead of the step; 0 prepares them in the loop. The order of samples is the same."""
    threads: int = 0
    """Threads of torch on a CPU, of all workers together; 0 leaves torch's own choice. Exact resume needs the same number."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the computation; weights stay in float32. auto: bfloat16 on a GPU, float32 on a CPU."""
    gradient_checkpointing: bool = False
    """Compute the language model's layers again in the backward pass instead of keeping what they computed."""
    compile: bool = False
    """Compile the language model's layers with torch.compile."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several workers: each holds the whole model, or (fsdp, in the mllm stage) a share of it."""
    shard_mb: int = 4000
    """Largest file of a checkpoint's weights."""
    tensorboard: bool = True
    """Write metrics for TensorBoard too, where tensorboardX is installed."""
    cache_mb: int = 2048
    """Decoded media kept in memory, at most."""
    keep_checkpoints: int = 2
    """How many of the latest checkpoints stay."""
    max_bad_steps: int = 10
    """Steps in a row with a loss or gradient that is not finite, after which the run stops."""
    log_every: int = 10
    """Steps between rows of metrics.jsonl and progress lines."""
    align: AlignConfig
    decoders: DecodersConfig
    mllm: MllmConfig

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "seed"):
            _check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("keep_checkpoints", "max_bad_steps", "log_every", "cache_mb", "shard_mb"):
            _check(getattr(self, name) >= 1, name, "must be at least 1")
        shares = self.parallel == "fsdp" and self.mllm.optimizer == "muon"
        _check(not shares, "mllm.optimizer", "cannot be muon with parallel: fsdp, which cuts matrices into shares")

    def stage(self, name: str) -> StageConfig:
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "config") -> TrainConfig:
        """Build and validate; errors start with `where`, which names the file."""
        return _build(cls, data, where, "")

    @classmethod
    def from_yaml(cls, path: str | Path) -> TrainConfig:
        """Read a YAML file, or a preset of this package by name ("demo", "test")."""
        file = Path(path)
        if not file.exists() and (PRESETS / f"{path}.yaml").exists():
            file = PRESETS / f"{path}.yaml"
        if not file.exists():
            raise FileNotFoundError(f"{path}: no such training config (and no preset of that name)")
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from error
        return cls.from_dict(data, str(file))


class _FieldError(Exception):
    """Raised in __post_init__, where neither the file nor the path to the key is known yet."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key} {problem}")
        self.key, self.problem = key, problem


def _check(holds: bool, key: str, problem: str) -> None:
    if not holds:
        raise _FieldError(key, problem)


def _build(cls: type, data: Any, where: str, prefix: str) -> Any:
    """Make a dataclass of plain data; every unknown, missing or ill-typed key is an error that names it."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: {prefix.rstrip('.') or 'the file'} must be a mapping, not {_kind(data)}")
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for key in data:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {prefix}{key}; known: {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, spec in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], where, prefix + name)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ConfigError(f"{where}: missing key {prefix}{name}")
    try:
        return cls(**values)
    except _FieldError as error:
        raise ConfigError(f"{where}: {prefix}{error}") from error


def _convert(hint: Any, value: Any, where: str, key: str) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint):
        return _build(hint, value, where, key + ".")  # type: ignore[arg-type]
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where}: {key} must be one of {', '.join(map(str, get_args(hint)))}, not {value!r}")
        return value
    if origin in (Union, types.UnionType):
        inner = [h for h in get_args(hint) if h is not type(None)]
        return None if value is None else _convert(inner[0], value, where, key)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {key} must be a mapping, not {_kind(value)}")
        return {str(k): _convert(get_args(hint)[1], v, where, f"{key}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if type(value) is not hint:
        raise ConfigError(f"{where}: {key} must be {hint.__name__}, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "empty" if value is None else f"{type(value).__name__} {value!r}"
