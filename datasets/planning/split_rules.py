"""Where a sample belongs that joins media of several families: the rule that keeps what is held out out of training.

A sample all of whose media are of train is a train sample. What is held out may be joined with what was seen in
training, or with what is held out for the same split: a held-out combination. Only where every medium is of a held-out
family does the sample count as a held-out concept.
"""

from __future__ import annotations

from collections.abc import Sequence


def joint_split(media: Sequence[str], targets: Sequence[str] = ()) -> tuple[str, str]:
    """SQL for split (null where the media may not stand together) and for holdout of the aliases in `media`.

    `targets` are those of `media` that must themselves be held out outside of train: what a sample asks for is never
    seen in training. None are given where the target is made of all the media.
    """
    splits = ", ".join(f"{alias}.split" for alias in media)
    held_out = f"list_distinct(list_filter([{splits}], lambda s: s <> 'train'))"
    unseen = "".join(f" and {alias}.split <> 'train'" for alias in targets)
    split = f"case when len({held_out}) = 0 then 'train' when len({held_out}) = 1{unseen} then {held_out}[1] end"
    all_train = " and ".join(f"{alias}.split = 'train'" for alias in media)
    all_concepts = " and ".join(f"{alias}.holdout = 'concept'" for alias in media)
    return split, f"case when {all_train} then '' when {all_concepts} then 'concept' else 'combination' end"
