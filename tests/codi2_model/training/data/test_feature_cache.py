"""Cache of the features of frozen encoders."""

from __future__ import annotations

import torch

from codi2_model.training.data.feature_cache import FeatureCache


class Counting:
    """Encoders that count their calls."""

    def __init__(self) -> None:
        self.seen = 0

    def features(self, modality: str, media: torch.Tensor) -> torch.Tensor:
        self.seen += len(media)
        return media.flatten(1)[:, None, :4] * (2.0 if modality == "image" else 3.0)


def test_an_asset_is_encoded_once_and_what_has_no_name_each_time() -> None:
    encoders = Counting()
    cache = FeatureCache(encoders, 1)
    media = torch.arange(24.0).view(3, 2, 4)
    first = cache.get("image", ["a", None, "b"], media)
    again = cache.get("image", ["b", "a", None], media[[2, 0, 1]])
    assert torch.equal(again, first[[2, 0, 1]]) and first.shape == (3, 1, 4)
    assert encoders.seen == 4
    assert torch.equal(cache.get("audio", ["a"], media[:1]), first[:1] * 1.5)  # of another modality


def test_it_keeps_no_more_than_it_may() -> None:
    encoders = Counting()
    cache = FeatureCache(encoders, 0)
    for _ in range(2):
        cache.get("image", ["a"], torch.ones(1, 2, 4))
    assert encoders.seen == 2
