"""Before-and-after pairs, then a picture -> the same change done to it. Nothing in the words tells which."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

TEMPLATES = (
    (
        "<demo>We apply a new concept to [demo_in]. And got [demo_out]. </demo>Apply the same concept to [query].",
        "[target]",
    ),
    ("<demo>[demo_in] becomes [demo_out]. </demo>What does [query] become?", "[target]"),
    ("<demo>Input: [demo_in] Output: [demo_out]\n</demo>Input: [query] Output:", "[target]"),
    ("Learn from these examples. <demo>[demo_in] -> [demo_out]; </demo>now do the same to [query]", "Done: [target]"),
    ("I changed <demo>[demo_in] into [demo_out], </demo>so please change [query] in the same way.", "[target]"),
)


def candidates(options: dict) -> str:
    kinds = ", ".join(f"'{kind}'" for kind in options["kinds"])
    return f"""select query || '>' || target as key, '' as kind, kind as balance, split, holdout, relation, family,
                      query as slot_query, target as slot_target, concept as meta_concept, family as meta_family,
                      style as meta_style, source_style as meta_source_style, relation as meta_relation
               from edits where kind in ({kinds})"""


PLANNER = Planner(
    "exemplar_learning",
    "1",
    tuple(Template(*turns) for turns in TEMPLATES),
    candidates,
    options={"kinds": ["style", "tone", "gender", "direction"], "min_demos": 1, "max_demos": 4, "pairing": "relation"},
    demos=True,
)
