"""SQL that places drawings on scenes: which go together, the position of each, and the words for the position."""

from __future__ import annotations

from collections.abc import Mapping

from codi2_datasets.corpora import corpora
from codi2_datasets.planning.split_rules import joint_split
from codi2_datasets.vocabulary.categories import COUNTABLE, things
from codi2_storage.catalog.sql import literal, literals

CUT_OUT = ("costume", "stamp", "drawing", "photo or drawing", "cartoon", "clip-art", "clipart", "cut-out")
# words -> the centre of the drawing, as shares of the scene's sides
PLACES = {
    "at the top left": (0.25, 0.25), "at the top": (0.5, 0.25), "at the top right": (0.75, 0.25),
    "on the left": (0.25, 0.5), "in the middle": (0.5, 0.5), "on the right": (0.75, 0.5),
    "at the bottom left": (0.25, 0.75), "at the bottom": (0.5, 0.75), "at the bottom right": (0.75, 0.75),
}  # fmt: skip
SCALE = 0.45  # of the scene's sides
PER_SCENE = 60  # drawings tried on each scene


def scene_placements() -> str:
    """SQL for the CTE `put`: drawings on scenes, some for every scene, each at a position chosen by hash.

    Drawings go on scenes of their own style; drawings without a style go on scenes without one. Each row also has
    `other`, the next drawing by hash on the same scene, and its family in other_family.
    """
    split, holdout = joint_split(["s", "t"])
    declared = [item for corpus in corpora().values() for item in getattr(corpus, "scenes", {}).items()]
    scenic = [f"{style}: {concept}" for style, concepts in declared for concept in concepts]
    places = ", ".join(f"({n}, {literal(words)}, {x}, {y})" for n, (words, (x, y)) in enumerate(PLACES.items()))
    return f"""
        places(n, place, x, y) as (values {places}),
        scenes as (
            select *, coalesce(style, '') as hand from pictures
            where kind = 'scene' or style || ': ' || concept in ({literals(scenic)})),
        placeable as (
            select * exclude (subgroup, thing, thing_words, thing_many), style as hand from ({things(COUNTABLE)})
            union all by name
            select *, '' as hand from pictures
            where style is null and kind in ({literals(CUT_OUT)}) and caption <> '' and family is not null),
        placed as (
            select s.asset_id as scene, t.asset_id as thing, t.caption, t.concept, t.family, t.style, t.licence,
                   {split} as split, {holdout} as holdout, md5(s.asset_id || t.asset_id) as h
            from scenes s join placeable t on t.hand = s.hand and t.family is distinct from s.family
            where fusable(s.licence, t.licence) and ({split}) is not null
            qualify row_number() over (partition by s.asset_id order by md5(s.asset_id || t.asset_id)) <= {PER_SCENE}),
        put as (
            select p.*, l.place, l.x, l.y, lead(thing) over w as other, lead(family) over w as other_family,
                   lead(caption) over w as other_caption, lead(licence) over w as other_licence
            from placed p join places l on l.n = ('0x' || h[1:8])::bigint % {len(PLACES)}
            window w as (partition by scene, split, holdout order by h, thing))"""


def overlay(placed: Mapping[str, str]) -> str:
    """SQL struct of the derivation that places drawings (columns -> SQL 'x, y') on the column `scene`."""
    x, y = ([where.split(", ")[axis] for where in placed.values()] for axis in (0, 1))
    params = f"""json_object('x', [{", ".join(x)}], 'y', [{", ".join(y)}],
                 'scale', [{", ".join([str(SCALE)] * len(placed))}])::varchar"""
    return f"{{'op': 'overlay', 'params': {params}, 'inputs': [{', '.join(['scene', *placed])}]}}"
