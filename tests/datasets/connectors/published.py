"""Published corpora in small: files in exactly the published schema, with real media and with what real files suffer from.

`python tests/datasets/connectors/published.py FOLDER` writes them all, and CODI2_PAPER=FOLDER codi2 build paper builds the
dataset of the recipe `paper` from them alone.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from making import box, clip, cut_out, encoded, jpeg, picture, tar, tone, write

THINGS = ("a red ball on the grass", "a boat by the sea", "a dog in the park", "a house on a hill", "a bird in the sky",
          "a car on the road", "a tree in winter", "a horse in a field")  # fmt: skip


def caption(n: int) -> str:
    return f"{THINGS[n % len(THINGS)]}, picture {n}"


def hub_image(n: int | None, **changes: Any) -> dict[str, Any] | None:
    return None if n is None else {"bytes": jpeg(n, **changes), "path": f"{n}.jpg"}


def parquet(path: Path, rows: list[dict[str, Any]], group: int = 6, schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=group)
    return path


def table(rows: list[list[Any]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[call-overload]
    return buffer.getvalue()


def fetched(path: Path, rows: list[tuple[str, bytes, dict[str, Any]]], failed: int = 0, ending: str = "jpg") -> None:
    """A tar as img2dataset writes it, and the Parquet beside it with the status of all."""
    members: list[tuple[str, bytes | str | dict]] = []
    status = []
    for n, (url, data, told) in enumerate(rows):
        key = f"{path.stem}{n:04d}"
        record = {"key": key, "url": url, "status": "success", "error_message": None, "width": 96, "height": 72, **told}
        members += [(f"{key}.{ending}", data), (f"{key}.json", record), (f"{key}.txt", str(told.get("caption") or ""))]
        status.append({"key": key, "url": url, "status": "success", "error_message": None})
    for n in range(failed):
        key = f"{path.stem}{len(rows) + n:04d}"
        status.append({"key": key, "url": "http://gone.example/x", "status": "failed_to_download",
                       "error_message": "HTTP Error 404: Not Found"})  # fmt: skip
    tar(path, members)
    parquet(path.with_suffix(".parquet"), status)


# --- pictures with words -----------------------------------------------------------------------------------------


def laion(folder: Path) -> None:
    """LAION-400M's columns, LAION-2B's later ones, Re-LAION's in lower case; one null caption, one row without an address."""
    old = [{"SAMPLE_ID": float(n), "URL": f"https://a.example/{n}.jpg", "TEXT": caption(n), "HEIGHT": 72, "WIDTH": 96,
            "LICENSE": "?" if n else "https://creativecommons.org/licenses/by/4.0/", "NSFW": "UNLIKELY",
            "similarity": 0.31} for n in range(10)]  # fmt: skip
    old[3]["TEXT"], old[4]["URL"] = None, "not an address"
    parquet(folder / "part-00000.snappy.parquet", old)
    new = [{"url": f"https://b.example/{n}.jpg", "caption": caption(n), "punsafe": 0.01, "pwatermark": float("nan"),
            "similarity": 0.3, "key": n} for n in range(10, 16)]  # fmt: skip
    parquet(folder / "relaion-part-00001.parquet", new)
    write(folder / "part-00002.parquet", b"PAR1 this one was cut off")
    rows = [(row["URL"], jpeg(n), {"caption": row["TEXT"], "LICENSE": row["LICENSE"], "similarity": 0.31})
            for n, row in enumerate(old) if n != 4]  # fmt: skip
    rows.append(("https://a.example/again.jpg", jpeg(0), {"caption": caption(0)}))  # the same picture at two addresses
    rows.append(("https://a.example/broken.jpg", jpeg(1)[:200], {"caption": "broken"}))
    rows.append(("https://a.example/page.jpg", b"<!doctype html><html>", {"caption": "a page"}))
    fetched(folder / "fetched" / "00000.tar", rows, failed=2)
    fetched(folder / "fetched" / "00001.tar",
            [(row["url"], jpeg(n), {"caption": row["caption"], "punsafe": 0.01}) for n, row in enumerate(new, 10)])  # fmt: skip


def ours(folder: Path) -> None:
    """What our own fetcher writes: attributes, licence and author in the JSON; one member that is not fetched; one tar cut."""
    members: list[tuple[str, bytes | str | dict]] = []
    for n in range(8):
        told = {"key": f"{n:08d}", "url": f"https://c.example/{n}.jpg", "status": "ok", "error": None, "caption": caption(n),
                "sha256": "", "media_type": "image/jpeg", "attributes": {"kind": "photo", "family": f"page {n % 3}"},
                "licence": "CC-BY-4.0", "author": "a maker"}  # fmt: skip
        members += [(f"{n:08d}.json", told), (f"{n:08d}.jpg", jpeg(100 + n))]
    members.append(("00000008.json", {"key": "00000008", "status": "http_404", "error": "404", "caption": "gone"}))
    members += [("00000009.png", cut_out(3)), ("00000009.txt", "a thing on nothing")]
    members += [("00000010.wav", tone(3)), ("00000010.jpg", jpeg(120)), ("00000010.txt", "a thing and its sound")]
    members += [("00000013.mp4", clip(40)), ("00000013.json", {"text": "a thing that moves", "license": "CC0"})]
    members += [("00000011.json", "{broken"), ("00000011.jpg", jpeg(121))]
    members += [("00000012.jpg", jpeg(122)), ("00000012.txt", b"\xff\xfe broken")]
    members = [("00000014.jpg", jpeg(123)), *members, ("00000014.txt", "a thing whose words lie apart")]
    whole = tar(folder / "00000.tar", members).read_bytes()
    write(folder / "00001.tar.gz", whole[:20_000])
    write(folder / "00002.tar", whole[: 512 * 5 + 100])
    write(folder / "notes.md", "not a tar")


def conceptual_captions(folder: Path) -> None:
    """TSV without a header, caption and address in either order; a line of one field, broken UTF-8, quotes inside."""
    lines = [f'{caption(n)} "quoted\thttps://d.example/{n}.jpg' for n in range(6)]
    raw = "\n".join(lines).encode() + b"\nonly a caption\ncaf\xe9\thttps://d.example/e.jpg\n"
    write(folder / "cc3m" / "Train_GCC-training.tsv", raw)
    write(folder / "cc12m" / "cc12m.tsv.gz",
          "\n".join(f"https://e.example/{n}.jpg\t<PERSON> and {caption(n)}" for n in range(5)))  # fmt: skip
    for k, name in enumerate(("cc3m", "cc12m")):
        fetched(folder / name / "fetched" / "00000.tar",
                [(f"https://d.example/{n}.jpg", jpeg(200 + 10 * k + n), {"caption": caption(n)}) for n in range(5)])  # fmt: skip


def coyo(folder: Path) -> None:
    rows = [{"id": n, "url": f"https://f.example/{n}.jpg", "text": caption(n), "width": 96, "height": 72, "num_faces": 0,
             "clip_similarity_vitl14": 0.2, "nsfw_score_opennsfw2": 0.01, "watermark_score": 0.1,
             "aesthetic_score_laion_v2": 5.1} for n in range(6)]  # fmt: skip
    rows[2]["text"] = ""
    parquet(folder / "part-00000-0001.parquet", rows)
    fetched(folder / "fetched" / "00000.tar",
            [(row["url"], jpeg(220 + n), {"text": row["text"], "watermark_score": 0.1}) for n, row in enumerate(rows)])  # fmt: skip


def coco(folder: Path) -> None:
    """captions_, instances_ and photographs; crowds, packed runs, an annotation of no image, a photograph that is not there."""
    licences = [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"},
                {"url": "http://flickr.com/commons/usage/", "id": 7, "name": "No known copyright restrictions"},
                {"url": "http://creativecommons.org/licenses/by-nd/2.0/", "id": 6, "name": "Attribution-NoDerivs License"}]  # fmt: skip
    images, captions, things = [], [], []
    for n in range(24):
        name = f"{n:012d}.jpg"
        images.append({"license": (4, 7, 6)[n % 3], "file_name": name, "coco_url": f"http://images.example/{name}",
                       "height": 72, "width": 96, "date_captured": "2013-11-14 17:02:52", "id": n,
                       "flickr_url": f"http://farm.example/{n}.jpg"})  # fmt: skip
        left, top, right, bottom = box(n)
        outline = [left, top, right, top, right, bottom, left, bottom]
        things.append({"segmentation": [outline], "area": 900.0, "iscrowd": 0, "image_id": n, "bbox": [0, 0, 1, 1],
                       "category_id": 18 if n % 2 else 16, "id": n})  # fmt: skip
        captions += [{"image_id": n, "id": 10 * n + k, "caption": f"{caption(n)}, said {k}."} for k in range(5)]
        if n != 20:
            write(folder / "train2017" / name, jpeg(300 + n))
    things[2] |= {"iscrowd": 1, "segmentation": {"counts": [0, 6912], "size": [72, 96]}}
    things[4]["segmentation"] = "nonsense"
    things.append(
        {"segmentation": [[2, 40, 40, 40, 40, 70, 2, 70]], "iscrowd": 0, "image_id": 1, "category_id": 1, "id": 900}
    )
    captions += [{"image_id": 999, "id": 9990, "caption": "of no photograph"}]
    captions = [item for item in captions if item["image_id"] != 21]
    for item in captions:
        if item["image_id"] == 22:
            item["caption"] = None
    images.append(dict(images[0]))  # the same photograph twice
    head = {"info": {"description": "COCO 2017 Dataset", "url": "http://cocodataset.org"}, "licenses": licences}
    write(folder / "annotations" / "captions_train2017.json", {**head, "images": images, "annotations": captions})
    names = [{"supercategory": "animal", "id": 16, "name": "bird"}, {"supercategory": "animal", "id": 18, "name": "dog"},
             {"supercategory": "person", "id": 1, "name": "person"}]  # fmt: skip
    outlines = {**head, "images": images, "annotations": things, "categories": names}
    write(folder / "annotations" / "instances_train2017.json", outlines)


# --- clips and sounds --------------------------------------------------------------------------------------------


def webvid(folder: Path) -> None:
    rows: list[list[Any]] = [["videoid", "contentUrl", "duration", "page_dir", "name"]]
    for n in range(8):
        rows.append([1000 + n, f"https://g.example/{n}.mp4", "PT00H00M02S", "005001_005050", f"{caption(n)}, a clip"])
        if n not in (5,):
            write(folder / "videos" / "005001_005050" / f"{1000 + n}.mp4", clip(n, sound=False))
    rows[3][4] = ""
    rows.append([rows[1][0], *rows[1][1:]])  # the same row twice
    rows.append([2000, "https://g.example/x.mp4"])  # a row that breaks off
    write(folder / "results_2M_train.csv", table(rows))


ONTOLOGY = [
    {"id": "/m/0jbk", "name": "Animal", "description": "", "citation_uri": "", "positive_examples": [],
     "child_ids": ["/m/068hy"], "restrictions": ["abstract"]},
    {"id": "/m/068hy", "name": "Domestic animals, pets", "description": "", "citation_uri": "", "positive_examples": [],
     "child_ids": ["/m/0bt9lr", "/m/01yrx"], "restrictions": []},
    {"id": "/m/0bt9lr", "name": "Dog", "child_ids": [], "restrictions": []},
    {"id": "/m/01yrx", "name": "Cat", "child_ids": [], "restrictions": []},
    {"id": "/m/06mb1", "name": "Rain", "child_ids": [], "restrictions": []},
    {"id": "/m/0k4j", "name": "Car", "child_ids": [], "restrictions": []},
    {"id": "/m/04rlf", "name": "Music", "child_ids": [], "restrictions": []},
    {"id": "/m/07pbtc8", "name": "Walk, footsteps", "child_ids": [], "restrictions": []},
    {"id": "/m/03m9d0z", "name": "Wind", "child_ids": [], "restrictions": []},
    {"id": "/m/02y_763", "name": "Sliding door", "child_ids": [], "restrictions": []},
]  # fmt: skip
LEAVES = [entry["id"] for entry in ONTOLOGY[2:]]


def audioset(folder: Path) -> None:
    """Three lines of comment, quoted labels; sounds as wav and flac, one clip with sound, one sound missing, one broken."""
    lines = ["# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=40, num_segs=40, num_unique_labels=527",
             "# YTID, start_seconds, end_seconds, positive_labels"]  # fmt: skip
    for n in range(40):
        name, labels = f"{'-' if n % 7 == 0 else ''}yt{n:07d}", LEAVES[n % len(LEAVES)]
        if n % 8 == 0:
            labels += ",/m/068hy,/m/0jbk"
        lines.append(f'{name}, {30 + n}.000, {40 + n}.000, "{labels}"')
        if n == 37:
            write(folder / "audio" / f"{name}.wav", b"RIFF\x00\x00\x00\x00WAVEbroken")
        elif n == 38:
            write(folder / "audio" / f"{name}_{30 + n}.mp4", clip(n))
        elif n != 39:
            kind = "FLAC" if n % 2 else "WAV"
            write(folder / "audio" / f"Y{name}.{kind.lower()}", tone(n, kind=kind))
    lines[10] = lines[10].replace('"/m/', '"/m/unknown')
    write(folder / "balanced_train_segments.csv", "\n".join(lines) + "\n")
    write(folder / "ontology.json", ONTOLOGY)


def audioset_tars(folder: Path) -> None:
    """The same segments, their sounds in a tar; one member that the list does not name."""
    audioset(folder)
    members = [(path.name, path.read_bytes()) for path in sorted((folder / "audio").iterdir())]
    tar(folder / "tars" / "balanced.tar", [*members, ("unknown0000.wav", tone(99))])


def audiocaps(folder: Path) -> None:
    train: list[list[Any]] = [["audiocap_id", "youtube_id", "start_time", "caption"]]
    train += [[n, f"ac{n:07d}", 10 * n, f"A sound of {caption(n)}"] for n in range(6)]
    train[4][3] = ""
    test = [train[0], *([100 + n, "ac0000009", 90, f"The ninth sound, said {n}"] for n in range(5))]
    write(folder / "train.csv", table(train))
    write(folder / "test.csv", table(test))
    for n in (*range(6), 9):
        write(folder / "audio" / f"ac{n:07d}_{10 * n}.flac", tone(60 + n, kind="FLAC"))


def clotho(folder: Path) -> None:
    captions: list[list[Any]] = [["file_name", *(f"caption_{k}" for k in range(1, 6))]]
    told: list[list[Any]] = [
        ["file_name", "keywords", "sound_id", "sound_link", "start_end_samples", "manufacturer", "license"]
    ]
    for n in range(5):
        name = f"a sound  {n} (caf\u00e9).wav"
        captions.append([name, *(f"{caption(n)} is heard, said {k}" for k in range(5))])
        told.append([name, "nature;rain", 100 + n, f"https://freesound.org/people/x/sounds/{n}", "[0, 100]", "Andr\u00e9",
                     "http://creativecommons.org/licenses/by/3.0/" if n % 2 else "http://creativecommons.org/publicdomain/zero/1.0/"])  # fmt: skip
        write(folder / "development" / name, tone(80 + n))
    captions[2][1] = ""
    write(folder / "clotho_captions_development.csv", table(captions))
    write(folder / "clotho_metadata_development.csv", table(told).encode("cp1252"))


def wavcaps(folder: Path) -> None:
    rows = [{"id": str(n), "caption": f"A sound of {caption(n)}", "audio": "wav_path", "duration": 1.0,
             "download_link": f"https://freesound.org/s/{n}/", "tags": ["a", "b"], "author": "someone"} for n in range(4)]  # fmt: skip
    rows[1]["caption"] = None  # type: ignore[assignment]
    write(folder / "json_files" / "FreeSound" / "fsd_final.json", {"num_captions_per_audio": 1, "data": rows})
    heard = [{"id": "Yab0000001.wav", "caption": "Rain on a roof", "audio": "wav_path", "duration": 1.0}, "no object"]
    write(folder / "json_files" / "AudioSet_SL" / "as_final.json", {"num_captions_per_audio": 1, "data": heard})
    for n in range(3):
        write(folder / "audio" / "FreeSound_flac" / f"{n}.flac", tone(110 + n, kind="FLAC"))
    write(folder / "audio" / "AudioSet_SL_flac" / "Yab0000001.flac", tone(120, kind="FLAC"))


def vggsound(folder: Path) -> None:
    rows = [
        [f"vg{n:07d}", 10 * n, ("dog barking", "playing piano", "people marching")[n % 3], "train"] for n in range(6)
    ]
    write(folder / "vggsound.csv", table(rows, quoting=csv.QUOTE_NONNUMERIC))
    for n in range(5):
        write(folder / "video" / f"vg{n:07d}_{10 * n:06d}.mp4", clip(20 + n, sound=n != 3))


def esc50(folder: Path) -> None:
    kinds = ("dog", "rain", "sea_waves", "crackling_fire", "clock_tick", "helicopter")
    rows: list[list[Any]] = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
    for n in range(24):
        name = f"{n % 5 + 1}-{1000 + n}-A-{n % 6}.wav"
        rows.append([name, n % 5 + 1, n % 6, kinds[n % 6], str(n % 6 < 2), 1000 + n, "A"])
        write(folder / "audio" / name, tone(140 + n))
    write(folder / "meta" / "esc50.csv", table(rows))


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
