"""The section of the card on loading a build. A test runs each of its code blocks."""

from __future__ import annotations

LOADING = """## How to load it

`root` is the folder that holds `shards/` and `catalog/`. Samples with their media, by `webdataset`:

```python
import json

import duckdb
import webdataset

root, build = "data", "BUILD"
shards = duckdb.sql(
    f"select shard from '{root}/catalog/shards/build={build}/*.parquet' where split = 'train' order by shard"
).fetchall()
for sample in webdataset.WebDataset([f"{root}/{shard}" for (shard,) in shards], shardshuffle=False):
    for message in json.loads(sample["json"])["messages"]:
        for part in message["content"]:
            content = part["text"] if part["type"] == "text" else sample[part["part"]]
    break
```

The tables, by DuckDB (`codi2 query` offers the same and all other tables):

```python
import duckdb

root, build = "data", "BUILD"
roles = duckdb.sql(
    f"select icl_role, modality, count(*) from '{root}/catalog/parts/build={build}/*.parquet' group by all order by all"
).fetchall()
```

Samples with their media, by Hugging Face's `datasets`:

```python
import duckdb
from datasets import load_dataset

root, build, task = "data", "BUILD", "text_to_image"
shards = duckdb.sql(
    f"select shard from '{root}/catalog/shards/build={build}/*.parquet' where split = 'train' and task = '{task}'"
).fetchall()
files = sorted(f"{root}/{shard}" for (shard,) in shards)
streamed = load_dataset("webdataset", data_files=files, split="train", streaming=True)
```

A row has `json`, the sample, and a column for every member that samples of the task have; a part of type image, audio or video
is `row[part["part"]]`. That reader takes its columns from the first five samples of the first file. So in these, and in no
others, members that a sample lacks are there as placeholders (an image of one pixel, audio of one value, a video of one frame), which its JSON does not
name: go by `json`. For the same reason read one task at a time, or `codi2 export --format webdataset`, whose tars know the
members of all tasks. Audio and video are decoded by `torchcodec`, which `datasets` wants installed. `codi2 export --format trl` gives
Parquet with the same columns for every task.

The tables, by `datasets`:

```python
from datasets import load_dataset

root, build = "data", "BUILD"
samples = load_dataset("parquet", data_files=f"{root}/catalog/samples/build={build}/*.parquet", split="train")
```

`split="train"` is that reader's name for everything in the file: the split of a sample is its column `split`. On the
hub, put this card at the top of the root."""
