"""Image and instruction -> the edited image: an attribute that corpora declare, or an edit described by a corpus."""

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

TEMPLATES = {
    **{name: attribute.edits for name, attribute in attributes().items()},
    "told": (
        ("[query] [instruction]", "[target]"),
        ("[instruction] [query]", "[target]"),
        ("Edit this picture: [query] This is what I want: [instruction]", "Here it is: [target]"),
        ("Here is my picture: [query] [instruction]", "Done: [target]"),
    ),
}

WORDS = ", ".join(f"if(kind = '{name}', word, null) as word_{name}" for name in attributes())
CANDIDATES = f"""select query || '>' || target as key, kind, kind as balance, split, holdout, {WORDS},
                      instruction as text_instruction, told_by as source_instruction,
                      query as slot_query, target as slot_target, concept as meta_concept, family as meta_family,
                      style as meta_style, source_style as meta_source_style, relation as meta_relation
               from edits where word is not null or kind = 'told'"""

PLANNER = Planner(
    "image_editing",
    "2",
    phrasings(TEMPLATES),
    {"": CANDIDATES},
    Columns(
        words=tuple(attributes()),
        media=("query", "target"),
        texts=("instruction",),
        sources=("instruction",),
        meta=("concept", "family", "style", "source_style", "relation"),
    ),
)
