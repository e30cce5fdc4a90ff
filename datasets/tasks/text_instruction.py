"""Conversation in words alone: the reply to what was said."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

LENGTHS = (2, 4, 6)  # turns
OPENINGS = (
    "[turn1]",
    "Let us chat. [turn1]",
    "Answer as a friend would: [turn1]",
    "Reply to this in a sentence or two: [turn1]",
)


def candidates(options: dict) -> str:
    slots = ", ".join(f"turns[start + {n}] as text_turn{n}" for n in range(1, max(LENGTHS) + 1))
    lengths = ", ".join(f"({n})" for n in LENGTHS)
    return f"""with told as (select *, from_json(text, '["varchar"]') as turns from dialogues),
                    windows as (
                        select t.*, l.n, unnest(range(0, len(turns) - l.n + 1, 2)) as start
                        from told t, (values {lengths}) l(n))
               select asset_id || '@' || start || '+' || n as key, n::varchar as kind, n::varchar as balance, split,
                      holdout, asset_id as source_asset, {slots}, family as meta_family
               from windows
               where len(list_filter(turns[start + 1 : start + n], x -> len(x) not between 2 and 240)) = 0"""


PLANNER = Planner(
    "text_instruction",
    "1",
    tuple(
        Template(opening, *(f"[turn{turn}]" for turn in range(2, length + 1)), kind=str(length))
        for length in LENGTHS
        for opening in OPENINGS
    ),
    candidates,
)
