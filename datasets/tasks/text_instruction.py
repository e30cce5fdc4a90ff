"""Text instructions: the next reply of a dialogue, the meaning of a word, a summary of a topic."""

from codi2_datasets.planning.templates import Template, phrasings
from codi2_datasets.tasks import Columns, Planner

LENGTHS = (2, 4, 6)  # turns
OPENINGS = (
    "[turn1]",
    "Let us chat. [turn1]",
    "Answer as a friend would: [turn1]",
    "Reply to this in a sentence or two: [turn1]",
)
MEANINGS = (
    ("What does '[turn1]' mean?", "[turn2]"),
    ("Define [turn1].", "[turn2]"),
    ("I read the word '[turn1]'. What is meant by it?", "[turn2]"),
)
SUMMARIES = (
    ("Tell me about this: [turn1]", "[turn2]"),
    ("[turn1]: what should I know?", "[turn2]"),
    ("Write a few sentences on [turn1].", "[turn2]"),
)
LONGEST = 600  # characters of a summary
TOLD = 2_000  # characters of an instruction, and of its answer
DEFINED = (
    ("[definition]\n\n[turn1]", "[turn2]"),
    ("[turn1]\n\n[definition]", "[turn2]"),
    ("Task: [definition]\nInput: [turn1]\nOutput:", "[turn2]"),
)
SLOTS = ", ".join(f"turns[start + {n}] as text_turn{n}" for n in range(1, max(LENGTHS) + 1))
TABLES = f"""
    told as (
        select *, from_json(text, '["varchar"]') as turns from texts
        where kind in ('dialogue', 'definition', 'summary', 'instruction', 'icl')),
    dialogues as (
        select t.*, l.n, unnest(range(0, len(turns) - l.n + 1, 2)) as start
        from told t, (select unnest({list(LENGTHS)})) l(n) where kind = 'dialogue'),
    senses as (  -- of a word, its most usual one
        select * from told where kind = 'definition'
        qualify row_number() over (
            partition by family order by (attributes ->> '$.tagged')::integer desc, asset_id) = 1)"""
CANDIDATES = {
    "dialogue": f"""
        select asset_id || '@' || start || '+' || n as key, n::varchar as kind, n::varchar as balance, split,
               holdout, asset_id as source_asset, {SLOTS}, family as meta_family
        from dialogues
        where len(list_filter(turns[start + 1 : start + n], x -> len(x) not between 2 and 240)) = 0""",
    "meaning": f"""
        select asset_id as key, kind, kind as balance, split, holdout, asset_id as source_asset,
               turns[1] as text_turn1, turns[2] as text_turn2, family as meta_family
        from (from senses union all by name from told where kind = 'summary' and len(turns[2]) <= {LONGEST})""",
    "told": f"""
        select asset_id as key, if(kind = 'icl', 'defined', 'told') as kind, kind || corpus as balance, split, holdout,
               asset_id as source_asset, turns[1] as text_turn1, turns[2] as text_turn2,
               attributes ->> '$.definition' as text_definition, family as meta_family
        from told where (kind = 'instruction' or kind = 'icl' and (attributes ->> '$.definition') is not null)
                    and len(turns[1]) <= {TOLD} and len(turns[2]) <= {TOLD}""",
}

PLANNER = Planner(
    "text_instruction",
    "2",
    (
        *(
            Template(opening, *(f"[turn{turn}]" for turn in range(2, length + 1)), kind=str(length))
            for length in LENGTHS
            for opening in OPENINGS
        ),
        *phrasings(
            {"definition": MEANINGS, "summary": SUMMARIES, "told": [("[turn1]", "[turn2]")], "defined": DEFINED}
        ),
    ),
    CANDIDATES,
    Columns(
        texts=("definition", *(f"turn{n}" for n in range(1, max(LENGTHS) + 1))), sources=("asset",), meta=("family",)
    ),
    tables=TABLES,
)
