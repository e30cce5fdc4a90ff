"""Generation folders: relative links, escaping, rewriting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_datasets.media.contact_sheet import video_strip
from codi2_datasets.media.video import decode_video
from codi2_model.evaluation.report.outputs import GenerationItem, evenly, write_generations

EVIL = "<script>alert('x')</script>"


def item(item_id: str, task: str = "image_editing", **fields: Any) -> GenerationItem:
    wave = np.sin(np.linspace(0, 900, 8_000)).astype(np.float32)
    prompt = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": EVIL},
                {"type": "image", "value": Image.new("RGB", (64, 64), "red"), "icl_role": "query"},
                {"type": "audio", "value": wave},
            ],
        }
    ]
    output = [{"type": "text", "text": "Done: "}, {"type": "image", "value": Image.new("RGB", (32, 32), "blue")}]
    truth = [{"type": "audio", "value": wave * 3}]
    return GenerationItem(item_id, task, prompt, output, truth, **fields)


def test_every_link_of_the_page_leads_to_a_file_in_the_folder(tmp_path: Path) -> None:
    written = write_generations(tmp_path / "out", [item("a"), item("b", "audio_editing")])
    page = written.page.read_text()
    links = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert links and all((written.page.parent / link).is_file() for link in links)
    assert not [link for link in links if link.startswith(("/", "http", ".."))]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["contact_sheet.png", "index.html", "media"]


def test_texts_and_names_are_escaped(tmp_path: Path) -> None:
    page = write_generations(
        tmp_path,
        [item("../" + EVIL, note=EVIL)],
        title=EVIL,
        tables=[{"title": EVIL, "columns": [EVIL], "rows": [[EVIL]]}],
    ).page.read_text()
    assert "<script" not in page and page.count("&lt;script&gt;") >= 6
    assert all(path.parent == tmp_path / "media" for path in (tmp_path / "media").rglob("*"))


def test_sounds_are_clipped_and_keep_their_rate(tmp_path: Path) -> None:
    written = write_generations(tmp_path, [item("a")])
    wave, rate = soundfile.read(next(path for path in written.media if "-t" in path.name))
    assert rate == 16_000 and np.abs(wave).max() <= 1.0 and len(wave) == 8_000


def test_clips_are_films_on_the_page_and_strips_on_the_sheet(tmp_path: Path) -> None:
    frames = np.zeros((8, 33, 33, 3), np.uint8)
    frames[:4, :, :, 0], frames[4:, :, :, 2] = 255, 255
    clip = GenerationItem("c", "text_to_video", [{"role": "user", "content": []}], [{"type": "video", "value": frames}])
    written = write_generations(tmp_path, [clip])
    assert '<video controls loop muted playsinline preload="metadata" src="media/c-o0.mp4"' in written.page.read_text()
    video = decode_video(written.media[0].read_bytes())
    assert video.shape == (8, 34, 34, 3)  # sides made even
    assert video[0, 16, 16, 0] > 200 and video[-1, 16, 16, 2] > 200
    strip = np.asarray(video_strip(frames, 32)).astype(int)
    assert strip.shape == (36, 128, 3)
    assert strip[18, 16].tolist() == [255, 0, 0] and strip[18, 112].tolist() == [0, 0, 255]


def test_the_same_items_give_the_same_bytes_and_leave_nothing_behind(tmp_path: Path) -> None:
    def bytes_of() -> dict[str, bytes]:
        write_generations(tmp_path, [item("a"), item("b")])
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert bytes_of() == bytes_of()


def test_an_empty_output_is_said_to_be_nothing(tmp_path: Path) -> None:
    empty = GenerationItem("a", "text_to_image", [{"role": "user", "content": [{"type": "text", "text": "x"}]}], [])
    page = write_generations(tmp_path, [empty]).page.read_text()
    assert "<em>nothing</em>" in page and "the truth" not in page


def test_two_items_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two items have the file name 'a_b'"):
        write_generations(tmp_path, [item("a/b"), item("a b")])


def test_the_sheet_takes_tasks_evenly() -> None:
    items = [item(f"{task}{n}", task) for task in ("x", "y", "z") for n in range(5)]
    assert [i.item_id for i in evenly(items, 7)] == ["x0", "x1", "x2", "y0", "y1", "z0", "z1"]
