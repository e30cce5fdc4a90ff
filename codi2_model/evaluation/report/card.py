"""Model card in Markdown, from the catalog and the files of a checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi2_model.evaluation.report.figures import row_line, table_head
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.catalog.provenance import origin_of

LIMITS = (
    "It was trained on drawings, emoji, short audio and short texts. Photographs, speech and long texts are out of scope.",
    "Held-out are concepts and combinations from the same corpora. Performance on other data was not measured.",
    "Judges are small networks, independent of the model. They make errors, and differences that they do not detect are not "
    "measured.",
    "Embeddings of texts are English; texts in other languages are compared by words only.",
    "It has no content filter for requests.",
)


def card_lines(catalog: Catalog, checkpoint_id: str, folder: Path, build_id: str, headline: Sequence[str]) -> list[str]:
    """Lines of the model card. headline: lines of the table of main figures."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return [
        f"# Model card: {checkpoint_id}",
        "",
        "A CoDi-2 model: a language model with interleaved text, images, audio and video as input and output.",
        "",
        "## Model",
        "",
        *_model(config, folder),
        "",
        "## Training",
        "",
        *_training(catalog, checkpoint_id),
        "",
        "## Data",
        "",
        *_data(catalog, build_id),
        "",
        "## Figures",
        "",
        *headline,
        "",
        "All figures, with baselines and intervals: [figures.md](figures.md). Samples and failures: `sheets/`, `worst/`.",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in LIMITS),
    ]


def _model(config: Mapping[str, Any], folder: Path) -> list[str]:
    count, size = weights(folder)
    kinds = ", ".join(["text", *config.get("modalities", ())])
    lines = [
        f"- input and output: {kinds}",
        f"- parameters: {count:,} in {size / 1e6:.1f} MB of safetensors",
        f"- feature slots per medium: {config.get('feature_tokens')}, of {config.get('feature_dim')} numbers each",
    ]
    if config.get("llm_source"):
        lines.append(f"- language model: {config['llm_source']}")
    return lines


def weights(folder: Path) -> tuple[int, int]:
    """(parameters, bytes) of the safetensors files of a checkpoint, read from their headers."""
    count = size = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        count += sum(math.prod(shape) for shape in shapes)
        size += path.stat().st_size
    return count, size


def _training(catalog: Catalog, checkpoint_id: str) -> list[str]:
    rows = catalog.sql(
        """select c.run_id, c.step, r.build_id, r.code_version from checkpoints c join runs r using (run_id)
           where c.checkpoint_id = ? order by c.run_id limit 1""",
        [checkpoint_id],
    ).to_pylist()
    if not rows:
        return ["The catalog has no training run of this checkpoint."]
    row = rows[0]
    return [
        f"- run {row['run_id']}, step {row['step']:,}, on build {row['build_id']}",
        f"- code version {row['code_version']}; its config is in the table `runs` of the catalog",
    ]


def _data(catalog: Catalog, build_id: str) -> list[str]:
    contents = origin_of(catalog, build_id)
    if contents is None:
        return [f"Build {build_id or '(none)'} is not in the catalog."]
    splits = catalog.sql(
        "select split, count(*) as n, count(distinct task) as tasks from samples group by 1 order by 1", build=build_id
    ).to_pylist()
    summary = "; ".join(f"{row['split']} {row['n']:,} samples of {row['tasks']} tasks" for row in splits)
    uses = [row_line([use.licence, f"{use.works:,}", f"{use.samples:,}"]) for use in contents.licences]
    return [
        f"Build {build_id}: {summary}. Works in the training samples keep their own licences; a sample has the strictest of its parts:",
        "",
        *table_head(["licence", "works", "samples"]),
        *uses,
        "",
        f"Corpora: {', '.join(sorted({corpus.corpus for corpus in contents.corpora if corpus.works}))}.",
        "",
        "ATTRIBUTION, next to the weights of a release, lists authors, sources and licences of all works.",
    ]
