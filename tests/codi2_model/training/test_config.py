"""Validation of training configs; errors name the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from codi2_model import CoDi2Config
from codi2_model.training.config import PRESETS, STAGES, ConfigError, TrainConfig
from codi2_model.training.warm_start import model_config

TEST = yaml.safe_load((PRESETS / "test.yaml").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    """The config `test` with one key (dotted path) replaced; None removes it."""
    data: dict[str, Any] = yaml.safe_load(yaml.safe_dump(TEST))
    *way, last = path.split(".")
    inner = data
    for key in way:
        inner = inner[key]
    inner[last] = value
    if value is None:
        del inner[last]
    return data


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_presets_are_valid_and_so_are_their_model_settings(name: str) -> None:
    config = TrainConfig.from_yaml(name)
    assert [stage for stage in STAGES if not config.stage(stage).steps] == ["preference"]
    CoDi2Config.preset(config.preset, **config.model)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "unknown key 'colour'"),
        ("align.stepz", 1, "unknown key 'align.stepz'"),
        ("align.stepz", 1, "did you mean steps?"),
        ("align.steps", "ten", "align.steps: expected int, found str 'ten'"),
        ("align.steps", 1.5, "align.steps: expected int"),
        ("align.steps", True, "align.steps: expected int"),
        ("align.steps", -1, "align.steps must not be negative"),
        ("mllm.lr", 0, "mllm.lr must be above 0"),
        ("mllm.lr", "fast", "mllm.lr: expected float"),
        ("mllm.schedule", "spiral", "mllm.schedule: expected 'cosine', 'constant'"),
        ("mllm.accumulation", 3, "mllm.accumulation must divide batch_size"),
        ("mllm.loss_weights", {"beauty": 1.0}, "mllm.loss_weights.beauty is not one of tokens"),
        ("mllm.tasks", {}, "mllm.tasks must name at least one task"),
        ("mllm.tasks", {"text_to_image": 0}, "mllm.tasks.text_to_image must be above 0"),
        ("mllm.tasks", {"text_to_image": "much"}, "mllm.tasks.text_to_image: expected float"),
        ("mllm", [1], "mllm: expected keys and values, found list [1]"),
        ("decoders", None, "key 'decoders' is missing"),
        ("threads", -1, "threads must not be negative"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_file_and_key(tmp_path: Path, path: str, value: Any, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(ConfigError) as error:
        TrainConfig.from_yaml(file)
    assert str(error.value).startswith(f"{file}: ")
    assert message in str(error.value)


def test_settings_override_those_of_the_file() -> None:
    config = TrainConfig.from_yaml("demo", ["mllm.steps=50", "mllm.lr=1e-3", "model.hidden_size=8", "compile=true"])
    assert (config.mllm.steps, config.mllm.lr, config.compile) == (50, 1e-3, True)
    assert config.model["hidden_size"] == 8 and config.align == TrainConfig.from_yaml("demo").align
    for setting, message in (
        ("mllm.stepz=5", "did you mean steps"), ("mllm.steps", "not of the form"), ("seed.x=1", "not of the form"), ("seed=[", "not valid YAML"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            TrainConfig.from_yaml("demo", [setting])


def test_exponents_without_a_dot_are_numbers() -> None:
    assert TrainConfig.from_dict(changed("mllm.lr", "2e-3")).mllm.lr == 2e-3


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TrainConfig.from_yaml("nowhere")
    file = tmp_path / "broken.yaml"
    file.write_text("align: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not readable as YAML"):
        TrainConfig.from_yaml(file)


def test_plain_data_of_a_config_makes_the_same_config() -> None:
    config = TrainConfig.from_yaml("demo")
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_shipped_config_can_be_read_and_so_can_its_model(name: str) -> None:
    config = TrainConfig.from_yaml(name)
    assert model_config(config).modalities
    assert TrainConfig.from_dict(config.to_dict(), "again") == config


def test_the_former_key_workers_is_read_and_kept_in_what_run_ids_are_hashed_from() -> None:
    data = TrainConfig.from_yaml("test").to_dict()
    assert data["workers"] == 0 and "dataloader_workers" not in data
    assert TrainConfig.from_dict(data | {"workers": 3}).dataloader_workers == 3
    with pytest.raises(ConfigError, match="workers is the former name of dataloader_workers"):
        TrainConfig.from_dict(data | {"dataloader_workers": 1})
