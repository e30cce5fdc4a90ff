"""Published corpora in small: files in exactly the published schema, with real media and with what real files suffer from.

`python tests/datasets/connectors/published.py FOLDER` writes them all, and CODI2_PAPER=FOLDER codi2 build paper builds the
dataset of the recipe `paper` from them alone.
"""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from making import encoded, jpeg, picture, write

from tests.datasets.connectors.published_files import caption, fetched, hub_image, parquet
from tests.datasets.connectors.published_media import (
    audiocaps,
    audioset,
    audioset_tars,
    clotho,
    coco,
    conceptual_captions,
    coyo,
    esc50,
    laion,
    ours,
    vggsound,
    wavcaps,
    webvid,
)

# --- edits -------------------------------------------------------------------------------------------------------

ASKED = ("make it night", "turn the sky red", "add snow")
SKIES = ("navy", "red", "white")


def instructpix2pix(folder: Path) -> None:
    """Folders as published: prompt.json, metadata, pairs by seed. A pair without its second half, a prompt that is no JSON."""
    for n in range(18):
        prompt = folder / "folders" / f"shard-0{n % 2}" / f"{n:07d}"
        write(
            prompt / "prompt.json",
            {"input": caption(n), "edit": ASKED[n % 3], "output": f"{caption(n)}, {ASKED[n % 3]}"},
        )
        write(prompt / "metadata.jsonl", json.dumps({"seed": 7, "clip_sim_dir": 0.2}) + "\n")
        write(prompt / "7_0.jpg", jpeg(400 + n))
        write(prompt / "7_1.jpg", jpeg(400 + n, sky=SKIES[n % 3]))
    first = folder / "folders" / "shard-00" / "0000000"
    write(first / "9_0.jpg", jpeg(430))
    write(folder / "folders" / "shard-01" / "0000019" / "prompt.json", "{not json")
    write(folder / "folders" / "seeds.json", [["shard-00/0000000", ["7"]]])
    instructpix2pix_parquet(folder / "parquet")


def instructpix2pix_parquet(folder: Path) -> None:
    rows = [{"original_prompt": caption(n), "original_image": hub_image(450 + n), "edit_prompt": ASKED[n % 3],
             "edited_prompt": f"{caption(n)}, {ASKED[n % 3]}", "edited_image": hub_image(450 + n, sky=SKIES[n % 3])}
            for n in range(10)]  # fmt: skip
    rows[2]["edit_prompt"] = None
    rows[3]["edited_image"] = {"bytes": b"\xff\xd8\xff cut", "path": None}
    rows[4]["edited_image"] = rows[4]["original_image"]
    rows[5]["edited_image"] = None
    rows.append(rows[0])  # the same row twice
    parquet(folder / "train-00000-of-00001.parquet", rows, group=4)


def magicbrush(folder: Path) -> None:
    rows = []
    for n in range(8):
        for turn in range(1, 4):
            rows.append({"img_id": str(7000 + n), "turn_index": turn, "source_img": hub_image(500 + 10 * n + turn - 1),
                         "mask_img": hub_image(500), "instruction": ("add a hat", "make it blue", "remove the car")[turn - 1],
                         "target_img": hub_image(500 + 10 * n + turn)})  # fmt: skip
    rows[5]["instruction"] = "  "
    parquet(folder / "train-00000-of-00051.parquet", rows)


# --- instructions about pictures ---------------------------------------------------------------------------------


def mimic_it(folder: Path) -> None:
    """Several subsets: one picture (LA), two (CGD), frames (DC); dangling related ids, a picture missing, broken base64."""

    def images(name: str, numbers: dict[str, bytes]) -> dict[str, str]:
        return {f"{name}_IMG_{key}": base64.b64encode(data).decode() for key, data in numbers.items()}

    la = images("LA", {f"{n:012d}": jpeg(600 + n) for n in range(24)})
    asked = {}
    for n in range(24):
        related = [f"LACR_I2I_INS_{k:06d}" for k in ((n + 1) % 24, (n + 2) % 24)]
        asked[f"LACR_I2I_INS_{n:06d}"] = {"instruction": f"What is to be seen, and what of it is number {n}?",
                                          "answer": f"It shows {caption(n)}.", "image_ids": [f"LA_IMG_{n:012d}"],
                                          "rel_ins_ids": related}  # fmt: skip
    asked["LACR_I2I_INS_000003"]["rel_ins_ids"] += ["LACR_I2I_INS_999999", "LACR_I2I_INS_999998"]
    asked["LACR_I2I_INS_000005"]["image_ids"] = ["LA_IMG_000000000099"]
    asked["LACR_I2I_INS_000007"]["answer"] = None
    la["LA_IMG_000000000008"] = "not base64!"
    write(
        folder / "LA_instructions.json", {"meta": {"version": "0.0.1", "time": "2023-06", "author": "x"}, "data": asked}
    )
    write(folder / "LA.json", la)
    write(folder / "LACR_I2I_train.json", {key: entry["rel_ins_ids"] for key, entry in asked.items()})
    pairs = {f"CGD_INS_{n:06d}": {"instruction": "What is the difference between the two?", "answer": f"The second is {n}.",
                                  "image_ids": [f"CGD_IMG_{2 * n}", f"CGD_IMG_{2 * n + 1}"], "rel_ins_ids": []}
             for n in range(10)}  # fmt: skip
    write(folder / "CGD_instructions.json", {"meta": {}, "data": pairs})
    ids = [f"CGD_IMG_{n}" for n in range(20)]
    told = pa.table({"base64": [base64.b64encode(jpeg(640 + n)).decode() for n in range(20)], "__index_level_0__": ids})
    (folder / "CGD.parquet").parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(told, folder / "CGD.parquet", row_group_size=8)
    frames = images("DC", {f"v_clip_{k}_{n:04d}": jpeg(670 + 10 * k + n) for k in range(2) for n in range(8)})
    write(folder / "DC.json", frames)
    write(folder / "DC_instructions.json", {"meta": {}, "data": {
        f"DC_INS_{k:05d}": {"instruction": "What happens?", "answer": f"Clip {k} goes on.",
                            "image_ids": [f"DC_IMG_v_clip_{k}_{n:04d}" for n in range(8)], "rel_ins_ids": []}
        for k in range(2)}})  # fmt: skip


def llava_instruct(folder: Path) -> None:
    rows: list[Any] = []
    for n in range(14):
        turns = [
            {"from": "human", "value": f"<image>\nWhat is in picture {n}?"},
            {"from": "gpt", "value": f"It is {caption(n)}."},
        ]
        for k in range(n % 4):
            turns += [{"from": "human", "value": f"And what else, {k}?"}, {"from": "gpt", "value": f"Also thing {k}."}]
        rows.append({"id": f"{n:012d}", "image": f"{n % 12:012d}.jpg", "conversations": turns})
        write(folder / "images" / f"{n:012d}.jpg", jpeg(700 + n))
    rows.append(
        {
            "id": "t",
            "conversations": [{"from": "human", "value": "Hello, who are you?"}, {"from": "gpt", "value": "A helper."}],
        }
    )
    rows.append({"id": "b", "image": "000000000000.jpg", "conversations": [{"from": "gpt", "value": "Out of turn."}]})
    rows.append({"id": "m", "image": "missing.jpg", "conversations": rows[0]["conversations"]})
    rows.append("no object")
    write(folder / "llava_instruct_150k.json", rows)


# --- pages -------------------------------------------------------------------------------------------------------


def obelics(folder: Path) -> None:
    rows: list[dict[str, Any]] = []
    media = []
    for n in range(10):
        urls = [f"https://h.example/{n}-{k}.jpg" for k in range(1 + n % 4)]
        images: list[str | None] = []
        texts: list[str | None] = []
        about: list[dict[str, Any] | None] = []
        for k, url in enumerate(urls):
            images += [url, None]
            texts += [None, f"Words {k} of page {n}. They speak of {caption(n)}."]
            alt = {"alt_text": f"{caption(n)}, seen on page {n}"} if k % 2 == 0 else {}
            about += [{"document_url": f"https://h.example/{n}", "unformatted_src": url, "src": url, **alt}, None]
            media.append(
                (url, jpeg(750 + 10 * n + k), {"caption": alt.get("alt_text"), "page": f"https://h.example/{n}"})
            )
        general = {"url": f"https://h.example/{n}", "warc_filename": "crawl-data/x.warc.gz"}
        rows.append(
            {"images": images, "metadata": json.dumps(about), "general_metadata": json.dumps(general), "texts": texts}
        )
    rows[3]["texts"] = rows[3]["texts"][:-1]
    rows[5]["metadata"] = "[broken"
    rows.append({"images": [None], "metadata": "[null]", "general_metadata": "{}", "texts": ["Words alone."]})
    parquet(folder / "train-00000-of-01439.parquet", rows)
    fetched(folder / "fetched" / "00000.tar", media, failed=1)


def mmc4(folder: Path) -> None:
    lines: list[str] = []
    media = []
    for n in range(6):
        urls = [f"https://i.example/{n}-{k}.jpg" for k in range(1 + n % 2)]
        info = [{"image_name": f"{n}{k}.jpg", "raw_url": url, "matched_text_index": k, "matched_sim": 0.25,
                 "face_detections": None} for k, url in enumerate(urls)]  # fmt: skip
        lines.append(json.dumps({"url": f"https://i.example/{n}", "text_list": [f"{caption(n)}.", f"Page {n} goes on."],
                                 "image_info": info, "similarity_matrix": [], "could_have_url_duplicate": 0}))  # fmt: skip
        media += [(url, jpeg(860 + 10 * n + k), {"caption": caption(n)}) for k, url in enumerate(urls)]
    lines += ["{broken", json.dumps({"url": "https://i.example/x", "text_list": ["a"], "image_info": [
        {"raw_url": "https://i.example/far.jpg", "matched_text_index": 7, "matched_sim": 0.2}]})]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "docs_no_face_shard_0_v2.jsonl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("docs_no_face_shard_0_v2.jsonl"), "\n".join(lines))
    fetched(folder / "fetched" / "00000.tar", media)


# --- texts -------------------------------------------------------------------------------------------------------


def alpaca(folder: Path) -> None:
    rows: list[Any] = [{"instruction": f"Write about thing {n}.", "input": f"The dog is number {n}." if n % 2 else "",
                        "output": f"I saw a dog in the garden. Then the bird was on the roof, and {n} more."}
                       for n in range(30)]  # fmt: skip
    rows[4]["output"], rows[5]["instruction"], rows[6]["output"] = "", 7, "<nooutput>"
    rows += [rows[0], "no object", {"instruction": "Half a letter \ud800", "input": "", "output": "x"}]
    write(folder / "alpaca_data.json", rows)


def dolly(folder: Path) -> None:
    lines = [json.dumps({"instruction": f"Say {n}.", "context": "It is cold." if n % 2 else "", "response": f"{n} it is. The dog is in the garden.",
                         "category": "closed_qa"}) for n in range(8)]  # fmt: skip
    raw = (
        "\n".join(lines).encode() + b'\n\n{"instruction": "caf\xe9", "response": "x"}\n[1, 2]\n{"instruction": "Cut off'
    )
    write(folder / "databricks-dolly-15k.jsonl.zst", raw)


def metaicl(folder: Path) -> None:
    for task in ("glue-sst2", "ag_news"):
        lines = [json.dumps({"task": task, "input": f"{task} example {n}. A dog is in the garden of it.", "output": ("good", "bad")[n % 2],
                             "options": ["good", "bad"]}) for n in range(12)]  # fmt: skip
        write(folder / task / f"{task}_16_13_train.jsonl", "\n".join([*lines, lines[0], '{"task": "x"}']) + "\n")
    write(folder / "crossfit" / "boolq_16_13_train.tsv", "is it so? it is\tyes\nis it not? it is\tno\nbroken off\n")


def natural_instructions(folder: Path) -> None:
    for n in range(2):
        told = {"Contributors": ["x"], "Source": ["y"], "URL": [""], "Categories": ["Question Answering"], "Reasoning": [],
                "Definition": [f"Task {n}: answer with the number after it."], "Input_language": ["English"],
                "Output_language": ["English"], "Positive Examples": [{"input": "1", "output": "2", "explanation": ""}],
                "Negative Examples": [],
                "Instances": [{"id": f"task{n}-{k}", "input": f"The dog is at number {k} of {n}", "output": [str(k + 1), "other"]}
                              for k in range(10)]}  # fmt: skip
        told["Instances"].append({"id": "bad", "input": "", "output": []})  # type: ignore[union-attr]
        write(folder / "tasks" / f"task{n:03d}_numbers.json", told)


EVERY = {
    "laion": laion, "webdataset": ours, "conceptual": conceptual_captions, "coyo": coyo, "coco": coco, "webvid": webvid,
    "audioset": audioset, "audioset-tars": audioset_tars, "audiocaps": audiocaps, "clotho": clotho, "wavcaps": wavcaps,
    "vggsound": vggsound, "esc50": esc50, "instructpix2pix": instructpix2pix, "magicbrush": magicbrush, "mimic-it": mimic_it,
    "llava": llava_instruct, "obelics": obelics, "mmc4": mmc4, "alpaca": alpaca, "dolly": dolly, "metaicl": metaicl,
    "natural-instructions": natural_instructions,
}  # fmt: skip


def write_every(folder: Path, *names: str) -> Path:
    for name in names or EVERY:
        EVERY[name](folder / name)
    return folder


if __name__ == "__main__":
    write_every(Path(sys.argv[1]))
__all__ = ["EVERY", "encoded", "picture", "write_every"]
