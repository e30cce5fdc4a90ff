"""Icon sets of Iconify: many drawings in one JSON file, some of them rotations or reflections of others.

Format: the types of `@iconify/types` (IconifyJSON).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.support.emojibase import read_json


@dataclass(frozen=True)
class Drawing:
    """One drawing. `names`: its own name first, then its aliases."""

    names: tuple[str, ...]
    svg: str
    hidden: bool
    """Withdrawn by the set, often because a better drawing or another name replaced it."""


def drawings(package: Path) -> list[Drawing]:
    """Every drawing of an unpacked set, in the file's order; aliases with transformations come last."""
    data = read_json(package / "package" / "icons.json")
    icons, aliases = data["icons"], data.get("aliases", {})
    other_names = defaultdict(list)
    own = list(icons)
    for name in aliases:
        target, icon = resolve(name, data)
        if transform(icon):
            own.append(name)
        else:
            other_names[target].append(name)
    result = []
    for name in own:
        _, icon = resolve(name, data)
        result.append(Drawing((name, *other_names[name]), svg(icon, data), bool(icon.get("hidden"))))
    return result


def resolve(name: str, data: dict) -> tuple[str, dict]:
    """The icon that a name resolves to, and its properties with those of all aliases on the way applied.

    Flips cancel out, quarter turns add up, everything else is overridden. Raises ValueError for a loop.
    """
    seen, chain = set(), []
    while name not in data["icons"]:
        if name in seen or name not in data["aliases"]:
            raise ValueError(f"icon set {data.get('prefix')}: alias {name!r} leads nowhere")
        seen.add(name)
        chain.append(data["aliases"][name])
        name = data["aliases"][name]["parent"]
    icon = dict(data["icons"][name])
    for alias in reversed(chain):
        merged = {**icon, **{key: value for key, value in alias.items() if key != "parent"}}
        for flip in ("hFlip", "vFlip"):
            merged[flip] = bool(icon.get(flip)) != bool(alias.get(flip))
        merged["rotate"] = (icon.get("rotate", 0) + alias.get("rotate", 0)) % 4
        icon = merged
    return name, icon


def transform(icon: dict) -> bool:
    return bool(icon.get("hFlip") or icon.get("vFlip") or icon.get("rotate"))


def svg(icon: dict, data: dict) -> str:
    """A complete SVG document: first the flips, then the rotations, about the centre of the drawing's box."""
    box = {key: icon.get(key, data.get(key, default)) for key, default in
           {"left": 0, "top": 0, "width": 16, "height": 16}.items()}  # fmt: skip
    left, top, width, height = box["left"], box["top"], box["width"], box["height"]
    body = icon["body"]
    steps = []
    quarters = icon.get("rotate", 0) % 4
    middle_x, middle_y = left + width / 2, top + height / 2
    if quarters:
        steps.append(f"rotate({90 * quarters} {middle_x:g} {middle_y:g})")
    if icon.get("hFlip"):
        steps.append(f"translate({2 * middle_x:g} 0) scale(-1 1)")
    if icon.get("vFlip"):
        steps.append(f"translate(0 {2 * middle_y:g}) scale(1 -1)")
    if steps:
        body = f'<g transform="{" ".join(steps)}">{body}</g>'
    if quarters % 2:
        left, top = middle_x - height / 2, middle_y - width / 2
        width, height = height, width
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width:g}" height="{height:g}" viewBox="{left:g} {top:g} {width:g} {height:g}">{body}</svg>'
    )
