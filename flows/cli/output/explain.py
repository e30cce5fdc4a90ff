"""The lineage of a sample as text."""

from __future__ import annotations

import json
from typing import Any


def format_lineage(lineage: dict[str, Any]) -> str:
    """The result of `codi2_storage.catalog.lineage.explain` as indented lines."""
    sample, lines = lineage["sample"], []
    held_out = f", held out: {sample['holdout']}" if sample["holdout"] else ""
    lines += [
        f"sample {sample['sample_id']}",
        f"  task {sample['task']}, split {sample['split']}{held_out}, licence {sample['licence']}, seed {sample['seed']}",
        f"  shard {sample['shard']}",
    ]
    for build in lineage["build"]:
        lines.append(
            f"  build {build['build_id']}, recipe {build['recipe']} ({build['recipe_hash']}), {build['code_version']}"
        )
    for name, title in (("planned_by", "planned by"), ("selected_by", "selected by"), ("written_by", "written by")):
        lines += [f"  {title} {operator(run)}" for run in lineage[name]]
    printed: set[str] = set()
    for part in lineage["parts"]:
        marks = ", ".join(mark for mark in (part["icl_role"], "target" if part["target"] else "") if mark)
        head = f"  part {part['position']:03d} {part['role']} {part['modality']}{f' ({marks})' if marks else ''}"
        lines.append(f"{head}: {json.dumps(part['text'], ensure_ascii=False)}" if part["text"] is not None else head)
        if part.get("asset"):
            lines += format_asset(part["asset"], 4, printed)
    return "\n".join(lines)


def format_asset(asset: dict[str, Any], indent: int, printed: set[str]) -> list[str]:
    """The lines of an asset and its inputs. An asset of `printed` is only referred to."""
    pad = " " * indent
    if asset["asset_id"] in printed:
        return [f"{pad}asset {asset['asset_id'][:16]} (as above)"]
    printed.add(asset["asset_id"])
    size = f"{asset['width']}x{asset['height']}" if asset["width"] else ""
    size = f"{asset['duration_s']:.2f} s" if asset["duration_s"] else size
    lines = [
        f"{pad}asset {asset['asset_id'][:16]} {asset['media_type']} {size} {asset['licence']} {asset['caption'] or ''!r}"
    ]
    if asset["op"]:
        lines.append(f"{pad}  made by {asset['op']} {asset['params']} from")
        for item in asset["inputs"]:
            lines += format_asset(item, indent + 4, printed)
        return lines
    row = asset["source_row"]
    lines.append(
        f"{pad}  from {row['locator']} in {row['source']} (version {row['version']}, {row['licence']}, {row['author']})"
    )
    lines += [f"{pad}  {run['stage']} by {operator(run)}" for run in asset["operators"]]
    if asset["signals"]:
        lines.append(f"{pad}  signals " + ", ".join(f"{s['name']} {signal(s)}" for s in asset["signals"]))
    return lines


def signal(row: dict[str, Any]) -> str:
    """The value of a signal, shortened."""
    if row["numbers"]:
        return f"({row['numbers']} numbers)"
    if row["text"] is not None:
        return row["text"] if len(row["text"]) <= 40 else f"{row['text'][:36]} ..."
    return f"{row['value']:.4g}"


def operator(run: dict[str, Any]) -> str:
    return f"{run['op']} v{run['op_version']} {run['params']}"
