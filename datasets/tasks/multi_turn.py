"""A conversation that edits step by step: a drawing is asked for, then changed, then changed again."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

FIRST = (
    ("Draw {caption} in the {style0} style.", "[step0]"),
    ("Please make a {style0} picture of this: {caption}", "Here it is: [step0]"),
)
SHOWN = (("This is my picture: [query]. Turn it into {style1} style.", "[step1]"),
         ("[query] Redraw this in the {style1} style, please.", "Done: [step1]"))  # fmt: skip
SECOND = (("Now turn it into {style1} style.", "[step1]"), ("Good. The same in {style1} style?", "Like this: [step1]"))
THIRD = (
    ("And now in {style2} style.", "[step2]"),
    ("One last change: {style2} style.", "Here is the {style2} version: [step2]"),
)


def candidates(options: dict) -> str:
    # three drawings of one concept; which three, and in which order, by hash
    return """with grouped as (
                  select concept, any_value(family) as family, any_value(caption) as caption, split, holdout,
                         list({'asset': asset_id, 'style': style} order by md5(asset_id)) as works
                  from pictures where style is not null and caption <> '' and concept is not null
                  group by concept, split, holdout having count(*) >= 3),
              turned as (
                  select *, works[1 + start] as w0, works[1 + (start + 1) % len(works)] as w1,
                         works[1 + (start + 2) % len(works)] as w2
                  from (select *, unnest(range(len(works))) as start from grouped))
              select concept || '@' || w0.asset || split as key,
                     if(md5_number_lower(w0.asset) % 2 = 0, 'drawn', 'shown') as kind, w2.style as balance, split,
                     holdout, caption as word_caption, w0.style as word_style0, w1.style as word_style1,
                     w2.style as word_style2, w0.asset as slot_query, w0.asset as slot_step0, w1.asset as slot_step1,
                     w2.asset as slot_step2, concept as meta_concept, family as meta_family, w2.style as meta_style
              from turned"""


PLANNER = Planner(
    "multi_turn",
    "1",
    (
        *(Template(*a, *b, *c, kind="drawn") for a in FIRST for b in SECOND for c in THIRD),
        *(Template(*a, *c, kind="shown") for a in SHOWN for c in THIRD),
    ),
    candidates,
)
