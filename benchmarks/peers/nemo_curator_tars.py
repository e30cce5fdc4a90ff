"""The pairs with NeMo Curator on CPUs: usage: python nemo_curator_tars.py FOLDER OUT (in an environment with nemo-curator)

Reads interleaved WebDataset tars, filters by sides and caption in a stage of the user's own, writes Parquet. Its removal of
duplicate images needs embeddings from a GPU and is left out.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.interleaved.io import InterleavedParquetWriterStage, InterleavedWebdatasetReader
from nemo_curator.stages.interleaved.stages import BaseInterleavedFilterStage
from PIL import Image


@dataclass
class SidesAndCaption(BaseInterleavedFilterStage):
    """Keeps samples whose image decodes with sides of at least 300 px and whose caption has 10 to 200 characters."""

    name: str = "sides_and_caption"

    def content_keep_mask(self, task: object, df: pd.DataFrame) -> pd.Series:
        keep = pd.Series(True, index=df.index, dtype=bool)
        for index, data in self.iter_materialized_bytes(task=task, df=df, row_mask=df["modality"] == "image"):
            keep.loc[index] = data is not None and decodes(data)
        texts = df["modality"] == "text"
        keep[texts] = df.loc[texts, "text_content"].str.len().between(10, 200)
        bad = set(df.loc[~keep, "sample_id"])
        return ~df["sample_id"].isin(bad)


def decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return min(image.size) >= 300
    except (OSError, SyntaxError, ValueError):
        return False


def main(folder: str, out: str) -> None:
    pipeline = Pipeline(name="peers")
    pipeline.add_stage(InterleavedWebdatasetReader(f"{folder}/tars", files_per_partition=1, materialize_on_read=True))
    pipeline.add_stage(SidesAndCaption())
    pipeline.add_stage(InterleavedParquetWriterStage(path=out, materialize_on_write=True))
    pipeline.run(RayDataExecutor())
    kept = sum(
        pd.read_parquet(file, columns=["sample_id"])["sample_id"].nunique() for file in Path(out).glob("*.parquet")
    )
    print(json.dumps({"kept": int(kept)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
