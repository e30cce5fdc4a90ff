"""Before-and-after pairs, then an image -> the same change applied to it. The words do not describe the change.

shown{d}x{m}   questions with the corpus's own examples: d of them, with m images each, then the one to answer
"""

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.templates import Template, phrasings
from codi2_datasets.tasks import Columns, Planner

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
MOST_SHOWN, MOST_PICTURES = 3, 5  # examples given by a corpus, and images of each
EXAMPLES = range(1, MOST_SHOWN + 1)
IMAGES = [f"image{n}" for n in range(1, MOST_PICTURES + 1)]
SHOWN = [f"demo{d}_{said}" for d in EXAMPLES for said in ("words_in", "answer_out")]


def shown_templates(demos: int, pictures: int) -> list[Template]:
    """`demos` examples, each with its images, question and answer; then the same without an answer."""

    def images(of: str) -> str:
        return " ".join(f"[{of}image{n}{'_in' if of else ''}]" for n in range(1, pictures + 1))

    asked, kind = f"{images('')} [words]", f"shown{demos}x{pictures}"
    plain = "\n".join(f"{images(f'demo{d}_')} [demo{d}_words_in] [demo{d}_answer_out]" for d in range(1, demos + 1))
    marked = "\n".join(
        f"{images(f'demo{d}_')} Question: [demo{d}_words_in] Answer: [demo{d}_answer_out]" for d in range(1, demos + 1)
    )
    return [
        Template(f"{plain}\n{asked}", "[answer]", kind=kind),
        Template(f"{marked}\n{images('')} Question: [words] Answer:", "[answer]", kind=kind),
        Template(f"Answer as in these examples.\n{plain}\nNow this: {asked}", "[answer]", kind=kind),
    ]


def shown() -> str:
    """SQL: examples that a corpus relates to a query (MIMIC-IT's rel_ins_ids): the first ones with as many images as
    the query.
    """
    slots = [f"media[{n}] as slot_image{n}" for n in range(1, MOST_PICTURES + 1)]
    for d in EXAMPLES:
        slots += [f"demos[{d}].media[{n}] as slot_demo{d}_image{n}_in" for n in range(1, MOST_PICTURES + 1)]
        slots += [f"demos[{d}].turns[1] as text_demo{d}_words_in", f"demos[{d}].turns[2] as text_demo{d}_answer_out"]
        slots += [f"demos[{d}].asset_id as source_demo{d}_{what}" for what in ("words_in", "answer_out")]
    return f"""
        select 'shown' || asset_id as key, 'shown' || len(demos) || 'x' || len(media) as kind, 'shown' as balance, split,
               holdout, 'shown' || asset_id as relation, family, turns[1] as text_words, turns[2] as text_answer,
               asset_id as source_words, asset_id as source_answer, {", ".join(slots)}, null as meta_concept,
               family as meta_family, null as meta_style, null as meta_source_style, 'shown' as meta_relation, len(demos) as shown
        from (
            select a.asset_id, any_value(a.split) as split, any_value(a.holdout) as holdout, any_value(a.turns) as turns,
                   any_value(coalesce(a.family, a.asset_id)) as family, any_value(a.media) as media,
                   list({{'asset_id': d.asset_id, 'turns': d.turns, 'media': d.media}} order by l.position)[1:{MOST_SHOWN}] as demos
            from spoken a join links l on l.text_id = a.asset_id and l.role = 'related'
            join spoken d on d.asset_id = l.target and len(d.media) = len(a.media) and len(d.turns) = 2
                 and d.split = a.split and d.holdout = a.holdout
            where a.kind = 'related' and len(a.media) between 1 and {MOST_PICTURES}
              and not list_has_any(a.near, d.near)  -- an example that shows the query gives the answer away
            group by a.asset_id)"""


def changed(kind: str) -> str:
    return f"""select query || '>' || target as key, '' as kind, kind as balance, split, holdout, relation, family,
                      query as slot_query, target as slot_target, concept as meta_concept, family as meta_family,
                      style as meta_style, source_style as meta_source_style, relation as meta_relation, 0 as shown
               from edits where kind = '{kind}'"""


CANDIDATES = {**{kind: changed(kind) for kind in (*attributes(), "told")}, "shown": shown()}

PLANNER = Planner(
    "exemplar_learning",
    "1",
    (
        *phrasings({"": TEMPLATES}),
        *(
            template
            for demos in EXAMPLES
            for pictures in range(1, MOST_PICTURES + 1)
            for template in shown_templates(demos, pictures)
        ),
    ),
    CANDIDATES,
    Columns(
        media=("query", "target", *IMAGES, *(f"demo{d}_{image}_in" for d in EXAMPLES for image in IMAGES)),
        texts=("words", "answer", *SHOWN),
        sources=("words", "answer", *SHOWN),
        meta=("concept", "family", "style", "source_style", "relation"),
        others=("shown",),
    ),
    options={"kinds": list(CANDIDATES), "min_demos": 1, "max_demos": 4, "pairing": "relation"},
    demos=True,
)
