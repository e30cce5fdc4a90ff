"""Two to four images of one style, with other subjects -> a new image in that style. The style is never named."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

SAID = (
    ("Given the artistic style represented in {refs}, create a new artwork similar to it: {caption}", "[target]"),
    ("{refs} Draw this in the same style: {caption}", "[target]"),
    ("These were drawn by one hand: {refs}. How would the same hand draw this: {caption}?", "[target]"),
    ("Learn the style of {refs}, then make a new picture. Its subject: {caption}", "Here it is: [target]"),
    ("My new picture should look as if it belonged with {refs}. It shows this: {caption}", "[target]"),
    ("Subject: {caption}. Style: as in {refs}.", "[target]"),
)
REFERENCES = {2: "[ref1] and [ref2]", 3: "[ref1], [ref2] and [ref3]", 4: "[ref1], [ref2], [ref3] and [ref4]"}

# The images of a style are placed on a ring by hash; the references are those that follow, all of different families.
# Flags and signs are left out: they look alike in every style.
FOLLOWING = ", ".join(
    f"lead(asset_id, {n}) over w as ref{n}, lead(family, {n}) over w as family{n}" for n in range(1, 5)
)
CANDIDATES = f"""with ring as (
                  select asset_id, caption, concept, family, style, split, holdout, {FOLLOWING}
                  from pictures
                  where style is not null and caption <> '' and family is not null
                    and ("group" is null or "group" not in ('flags', 'symbols'))
                  window w as (partition by style, split, holdout order by md5(asset_id), asset_id)),
              counted as (
                  select *, case when family1 in (family) or family2 in (family, family1) then 0
                                 when family3 is null or family3 in (family, family1, family2) then 2
                                 when family4 is null or family4 in (family, family1, family2, family3) then 3
                                 else 4 end as fitting
                  from ring where ref2 is not null)
              select asset_id as key, least(fitting, 2 + md5_number_lower(asset_id) % 3)::integer::varchar as kind,
                     style as balance, split, holdout, caption as word_caption, ref1 as slot_ref1, ref2 as slot_ref2,
                     ref3 as slot_ref3, ref4 as slot_ref4, asset_id as slot_target, concept as meta_concept,
                     family as meta_family, style as meta_style
              from counted where fitting > 0"""

PLANNER = Planner(
    "concept_learning",
    "2",
    phrasings(
        {str(n): [(user.replace("{refs}", refs), reply) for user, reply in SAID] for n, refs in REFERENCES.items()}
    ),
    {"": CANDIDATES},
    Columns(words=("caption",), media=("ref1", "ref2", "ref3", "ref4", "target"), meta=("concept", "family", "style")),
)
