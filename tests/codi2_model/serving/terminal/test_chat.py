"""The terminal chat over a real, very small model."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from codi2_datasets.media.video import decode_video, encode_video
from codi2_model.generation.session import Session
from codi2_model.serving.terminal import graphics
from codi2_model.serving.terminal.chat import COMMANDS, FILES, Chat, split_path
from codi2_model.serving.terminal.completion import completions


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a dog.png")
    soundfile.write(tmp_path / "drum.wav", 0.2 * np.sin(np.arange(8000) / 9), 16_000)
    (tmp_path / "clip.mp4").write_bytes(encode_video(np.full((8, 32, 32, 3), 90, np.uint8)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def talk(model: Any, processor: Any, files: Path) -> Chat:
    options = {"steps": 2, "max_new_tokens": 4, "modalities": ("image",), "seed": 1}
    return Chat(Session(model, processor), files / "made", "none", options, io.StringIO())


def excerpt(talk: Chat) -> str:
    assert isinstance(talk.screen, io.StringIO)
    return talk.screen.getvalue()


def test_media_stand_inline_in_the_next_message_and_replies_become_files(talk: Chat, files: Path) -> None:
    script = [f'/image "{files}/a dog.png" like this', f"/audio {files}/drum.wav", "with this sound"]
    assert talk.run(script) == 0
    first, second = (m["content"] for m in talk.session.messages if m["role"] == "user")
    assert [part["type"] for part in first] == ["image", "text"] and first[1]["text"] == "like this"
    assert [part["type"] for part in second] == ["audio", "text"]
    made = sorted(path.name for path in (files / "made").iterdir())
    assert made == ["image-001.png", "image-002.png"] and "image-002.png (32 x 32)" in excerpt(talk)


def test_a_clip_goes_in_and_a_sound_and_a_clip_come_out(talk: Chat, files: Path) -> None:
    script = [f"/save {files}/clips", "/with video", f"/video {files}/clip.mp4 again", "/with audio", "play"]
    assert talk.run(script) == 0
    assert decode_video((files / "clips" / "video-001.mp4").read_bytes()).shape == (8, 32, 32, 3)
    assert soundfile.info(files / "clips" / "audio-002.wav").duration == pytest.approx(2.0)


def test_new_forgets_the_conversation_and_the_seed_decides_the_picture(talk: Chat, files: Path) -> None:
    assert talk.run(["draw", "/new", "draw", "/new", "/seed 2", "draw"]) == 0
    one, same, other = (np.asarray(Image.open(path)) for path in sorted((files / "made").iterdir()))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert len(talk.session.messages) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/image nowhere.png", "nowhere.png: No such file"),
        ("/image {0}/broken.png", "broken.png: the image cannot be read"),
        ("/audio {0}/broken.png", "broken.png: the audio cannot be read"),
        ("/video {0}/broken.png", "broken.png: the video cannot be read"),
        ("/image", "/image: a path is missing"),
        ("/seed many", "'many' is not a number"),
        ("/steps 0", "/steps: 0 is not from 1 to 1000"),
        ("/with smell", "no modality 'smell': this model has text, image"),
        ("/dance", "/dance: no such command"),
    ],
)
def test_errors_name_the_file_and_the_chat_goes_on(talk: Chat, files: Path, line: str, said: str) -> None:
    assert talk.run([line.format(files), "draw"]) == 1
    assert said in excerpt(talk) and (files / "made" / "image-001.png").exists()


def test_a_refused_turn_keeps_its_media_for_the_next(talk: Chat, files: Path) -> None:
    assert talk.run([f"/image {files}/a dog.png", "x" * 2000, "draw"]) == 1  # longer than the model reads
    message = talk.session.messages[0]["content"]
    assert [part["type"] for part in message] == ["image", "text"]


def test_a_path_may_hold_blanks(files: Path) -> None:
    assert split_path(f"{files}/a dog.png") == (f"{files}/a dog.png", "")
    assert split_path("'a b.png' make it") == ("a b.png", "make it")
    assert split_path("dog.png make it") == ("dog.png", "make it")


def test_settings_say_what_they_are_and_lines_begin_where_they_should(talk: Chat) -> None:
    assert talk.run(["/seed 7", "/seed", "/with", "/with text", "/with", "hm", "/with image", "draw"]) == 0
    lines = excerpt(talk).splitlines()
    assert lines[:3] == ["seed 7", "with image", "with text"] and lines[-1].startswith("[image ")
    assert "" not in lines


def test_tab_completes_commands_and_paths(files: Path) -> None:
    def found(line: str) -> list[str]:
        return completions(line, line.split(" ")[-1], COMMANDS, FILES)

    assert found("/s") == ["/seed ", "/steps ", "/save "]
    assert found(f"/audio {files}/d") == [f"{files}/drum.wav "] and found(f"/seed {files}/d") == []
    (files / "drums").mkdir()
    assert found(f"/audio {files}/drums") == [f"{files}/drums/"]
    assert found("draw a d") == []


def test_a_person_types_clears_stops_and_leaves(checkpoint: Path, files: Path) -> None:
    """In a terminal of its own: Tab, Ctrl-C that clears a message, Ctrl-C at an empty prompt."""
    master, slave = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "codi2_flows.cli.main",
        "chat",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(files),
    ]
    environment = {**os.environ, "TERM": "xterm", "CODI2_GRAPHICS": "none"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where the tests run in the background it is ignored
    )  # fmt: skip
    os.close(slave)
    screen = ""

    def wait_for(text: str) -> None:
        nonlocal screen
        while text not in screen:
            assert select.select([master], [], [], 30)[0], f"never said {text!r}: {screen}"
            screen += os.read(master, 4096).decode(errors="replace")
        screen = screen.partition(text)[2]

    def interrupt(answer: str) -> None:
        """Ctrl-C until it is answered: the prompt is written before anything listens, so one can come to nothing."""
        nonlocal screen
        for _ in range(10):
            os.kill(process.pid, signal.SIGINT)
            end = time.monotonic() + 3
            while answer not in screen and select.select([master], [], [], max(0.0, end - time.monotonic()))[0]:
                screen += os.read(master, 4096).decode(errors="replace")
            if answer in screen:
                break
        wait_for(answer)

    try:
        wait_for("/help lists the commands.")
        wait_for("> ")
        os.write(master, f"/audio {files}/dr\t\r".encode())
        wait_for("drum.wav")
        wait_for("[audio]> ")
        interrupt("(message cleared")
        wait_for("> ")
        os.write(master, b"half a li")
        wait_for("half a li")
        interrupt("(message cleared")
        wait_for("> ")
        time.sleep(0.5)  # the prompt is written before anything listens
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_terminal_is_known_by_its_environment() -> None:
    assert graphics.protocol({"KITTY_WINDOW_ID": "1"}) == "kitty"
    assert graphics.protocol({"TERM_PROGRAM": "WezTerm"}) == "iterm2"
    assert graphics.protocol({"TERM": "foot"}) == "sixel"
    assert graphics.protocol({"COLORTERM": "truecolor", "TERM": "xterm-256color"}) == "blocks"
    assert graphics.protocol({"TERM": "dumb", "COLORTERM": "truecolor"}) == "none"
    assert graphics.protocol({"KITTY_WINDOW_ID": "1"}, terminal=False) == "none"


def test_pictures_are_drawn_in_each_way() -> None:
    image = Image.new("RGB", (16, 12), (255, 0, 0))
    blocks = graphics.drawn(image, "blocks")
    assert blocks.count("▀") == 16 * 6 and "38;2;255;0;0;48;2;255;0;0" in blocks
    assert graphics.drawn(image, "kitty").startswith("\x1b_Ga=T,f=100,q=2,m=0;")
    assert graphics.drawn(image, "iterm2").startswith("\x1b]1337;File=inline=1")
    sixel = graphics.drawn(image, "sixel")
    assert sixel.startswith('\x1bPq"1;1;16;12') and "#0;2;100;0;0" in sixel and "~" * 16 in sixel
    assert graphics.drawn(image, "none") == ""


def test_the_command_reads_piped_lines(checkpoint: Path, files: Path) -> None:
    command = [sys.executable, "-m", "codi2_flows.cli.main", "chat", "--checkpoint", str(checkpoint), "--steps", "2"]
    command += ["--out", str(files / "piped"), "--modalities", "image"]
    given = f"/image {files}/a dog.png\nmake it blue \udcff\n/image nowhere.png\n"  # and a byte that is no text
    environment = {**os.environ, "CODI2_GRAPHICS": "blocks"}
    result = subprocess.run(
        command, input=given, capture_output=True, text=True, errors="surrogateescape", timeout=120, env=environment
    )
    assert result.returncode == 1 and "nowhere.png: No such file" in result.stdout  # one line could not be done
    assert (
        result.stderr == f"model: codi2-test ({checkpoint})\n"
        and "▀" in result.stdout
        and (files / "piped" / "image-001.png").exists()
        and "Traceback" not in result.stderr
    )
