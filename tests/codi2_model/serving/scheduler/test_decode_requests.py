"""Decoders in bfloat16: close to float32 for every modality, and chosen by the server's setting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from codi2_model.checkpoints.device import uses_bfloat16
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.scheduler.decode_requests import DecodeRequest, decode
from codi2_storage.errors import UsageError


def request(engine: Any, modality: str, noise: int) -> DecodeRequest:
    generator = torch.Generator().manual_seed(noise)
    config = engine.model.config
    features = torch.randn(config.feature_tokens, config.feature_dim, generator=generator)
    features = features * config.scale / features.norm(dim=-1, keepdim=True)
    states = torch.randn(config.feature_tokens, config.hidden_size, generator=generator)
    return DecodeRequest(modality, 0, features, states, None, 2, 1.0, noise)


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt((samples**2).mean()))


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_decoding_in_bfloat16_is_close_to_float32(engine: Any, modality: str) -> None:
    requests = [request(engine, modality, noise) for noise in (1, 2)]
    whole, half = decode(engine.model, requests), decode(engine.model, requests, half=True)
    for one, other in zip(whole, half, strict=True):
        exact, rounded = np.asarray(one, dtype=np.float32), np.asarray(other, dtype=np.float32)
        assert exact.shape == rounded.shape and (exact != rounded).any()
        if modality == "audio":  # phases of the vocoder follow from the last bits of the spectrogram
            assert loudness(rounded) == pytest.approx(loudness(exact), rel=0.05)
        else:
            assert np.abs(exact - rounded).mean() < 2  # of 255


def test_the_setting_chooses_the_precision_and_auto_asks_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert uses_bfloat16("bfloat16", cpu) and not uses_bfloat16("float32", cpu)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not uses_bfloat16("auto", cpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert uses_bfloat16("auto", cpu)
    with pytest.raises(UsageError, match="precision half: must be one of auto, float32, bfloat16"):
        ServerSettings(precision="half")  # type: ignore[arg-type]
