"""Several images of one subject in other styles -> the subject in the requested style."""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner

SAID = (
    ("Given pictures of the same subject, {refs}, draw it in the {style} style.", "[target]"),
    ("{refs} These show one subject. Create a picture of it in {style} style.", "[target]"),
    ("Here is my subject: {refs}. Show it in {style} style.", "Here it is: [target]"),
    ("Look at {refs} and paint the same thing as {style} would.", "[target]"),
)
REFERENCES = {2: "[ref1] and [ref2]", 3: "[ref1], [ref2] and [ref3]"}

# references are chosen by hash from the images that `edits` allows, at most three
CANDIDATES = """with grouped as (
                  select target, any_value(split) as split, any_value(holdout) as holdout, any_value(style) as style,
                         any_value(concept) as concept, any_value(family) as family,
                         list(query order by md5(query || target)) as refs
                  from edits where kind = 'style' group by target having count(*) >= 2)
              select target as key, (2 + least(len(refs) - 2, md5_number_lower(target) % 2))::varchar as kind,
                     style as balance, split, holdout, style as word_style, refs[1] as slot_ref1, refs[2] as slot_ref2,
                     refs[3] as slot_ref3, target as slot_target, concept as meta_concept, family as meta_family,
                     style as meta_style
              from grouped"""

PLANNER = Planner(
    "subject_driven",
    "2",
    phrasings(
        {str(n): [(user.replace("{refs}", refs), reply) for user, reply in SAID] for n, refs in REFERENCES.items()}
    ),
    {"": CANDIDATES},
    Columns(words=("style",), media=("ref1", "ref2", "ref3", "target"), meta=("concept", "family", "style")),
)
