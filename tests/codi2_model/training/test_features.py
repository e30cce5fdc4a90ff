"""Features of frozen encoders, computed once for each asset."""

from __future__ import annotations

import torch

from codi2_model.training.features import FeatureCache, TextStatesCache


class Counting:
    """Encoders that count what they encode."""

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


class Reading:
    """A text encoder that counts the texts that it reads."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.seen += len(ids)
        assert ids.shape == mask.shape and bool(mask.all())
        return torch.stack([ids, ids + 0.3], dim=-1)


def test_a_text_is_read_once_and_without_the_padding_of_its_batch() -> None:
    encoder = Reading()
    cache = TextStatesCache(encoder, 1, half=False)
    first = cache.get(torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]]))
    assert first[:, :, 0].tolist() == [[4, 5, 6], [7, 0, 0]] and first[1, 1].tolist() == [0, 0]
    again = cache.get(torch.tensor([[7, 0], [8, 9]]), torch.tensor([[1, 0], [1, 1]]))
    assert torch.equal(again[0, 0], first[1, 0]) and encoder.seen == 3


def test_states_are_kept_in_the_numbers_that_the_run_computes_in() -> None:
    cache = TextStatesCache(Reading(), 1, half=True)
    assert cache.get(torch.tensor([[4]]), torch.tensor([[1]])).dtype == torch.bfloat16
