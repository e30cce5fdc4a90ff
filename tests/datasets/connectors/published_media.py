"""Small copies of published corpora of images, audio and videos with captions or labels."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from making import box, clip, cut_out, jpeg, tar, tone, write

from tests.datasets.connectors.published_files import caption, fetched, parquet, table

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
