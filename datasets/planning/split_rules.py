"""Assigns splits to samples that combine media of several families, so that held-out media stay out of training.

A sample whose media are all in train is a train sample. Held-out media may be combined with media seen in training, or
with media held out for the same split: a held-out combination. A sample counts as a held-out concept only if every
medium is of a held-out family.
"""

from __future__ import annotations

from collections.abc import Sequence


def joint_split(media: Sequence[str], targets: Sequence[str] = ()) -> tuple[str, str]:
    """SQL for split (null if the media may not be combined) and for holdout, of the aliases in `media`.

    `targets`: those of `media` that must themselves be held out outside of train, because a sample's target is never
    seen in training. Empty if the target is made of all the media.
    """
    splits = ", ".join(f"{alias}.split" for alias in media)
    held_out = f"list_distinct(list_filter([{splits}], lambda s: s <> 'train'))"
    unseen = "".join(f" and {alias}.split <> 'train'" for alias in targets)
    split = f"case when len({held_out}) = 0 then 'train' when len({held_out}) = 1{unseen} then {held_out}[1] end"
    all_train = " and ".join(f"{alias}.split = 'train'" for alias in media)
    all_concepts = " and ".join(f"{alias}.holdout = 'concept'" for alias in media)
    return split, f"case when {all_train} then '' when {all_concepts} then 'concept' else 'combination' end"
