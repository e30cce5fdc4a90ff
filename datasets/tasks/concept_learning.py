"""Two or three works of one style, of other subjects -> a new work in that style. The style is never named."""

from codi2_datasets.tasks import Planner
from codi2_datasets.templates import Template

SAID = (
    ("Given the artistic style represented in {refs}, create a new artwork similar to it: {caption}", "[target]"),
    ("{refs} Draw this in the same style: {caption}", "[target]"),
    ("These were drawn by one hand: {refs}. How would the same hand draw this: {caption}?", "[target]"),
    ("Learn the style of {refs}, then make a new picture. Its subject: {caption}", "Here it is: [target]"),
)
REFERENCES = {2: "[ref1] and [ref2]", 3: "[ref1], [ref2] and [ref3]"}


def candidates(options: dict) -> str:
    # the works of a style stand on a ring, by hash; the references are those that follow, of other families
    return """with ring as (
                  select asset_id, caption, concept, family, style, split, holdout,
                         lead(asset_id, 1) over w as ref1, lead(family, 1) over w as family1,
                         lead(asset_id, 2) over w as ref2, lead(family, 2) over w as family2,
                         lead(asset_id, 3) over w as ref3, lead(family, 3) over w as family3
                  from pictures where style is not null and caption <> '' and family is not null
                  window w as (partition by style, split, holdout order by md5(asset_id), asset_id))
              select asset_id as key, if(ref3 is null or family3 in (family, family1, family2)
                         or md5_number_lower(asset_id) % 2 = 0, 2, 3)::varchar as kind,
                     style as balance, split, holdout, caption as word_caption, ref1 as slot_ref1, ref2 as slot_ref2,
                     ref3 as slot_ref3, asset_id as slot_target, concept as meta_concept, family as meta_family,
                     style as meta_style
              from ring where ref2 is not null and family1 <> family and family2 not in (family, family1)"""


PLANNER = Planner(
    "concept_learning",
    "1",
    tuple(
        Template(user.replace("{refs}", refs), reply, kind=str(n))
        for n, refs in REFERENCES.items()
        for user, reply in SAID
    ),
    candidates,
)
