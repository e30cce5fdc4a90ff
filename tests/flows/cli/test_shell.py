"""What a shell relies on: completion, version, colours, exit status."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from codi2_flows.cli.main import app, run
from codi2_storage.host.shutdown import Stopping

PROGRAM = [sys.executable, "-m", "codi2_flows.cli.main"]
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])\b[0-9;]*m")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "reply"), [(("codi2", "qu"), "query"), (("codi2", "query", "--js"), "--json"), (("codi2", "schema", ""), "train")]
)  # fmt: skip
def test_bash_completes_commands_options_and_choices(words: tuple[str, ...], reply: str, tmp_path: Path) -> None:
    script = tmp_path / "codi2.bash"
    script.write_text(app.generate_completion(shell="bash"), encoding="utf-8")
    given = " ".join(f"'{word}'" for word in words)
    line = f'. {script}; COMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; _codi2; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert reply in [word.strip() for word in done.stdout.splitlines()], done


def test_completion_is_installed_in_the_home_folder(tmp_path: Path) -> None:
    command = [*PROGRAM, "--install-completion", "--shell", "bash"]
    subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, check=True, capture_output=True)
    script = tmp_path / ".local" / "share" / "bash-completion" / "completions" / "codi2"
    assert "complete -F _codi2 codi2" in script.read_text(encoding="utf-8")
    assert str(script) in (tmp_path / ".bashrc").read_text(encoding="utf-8")


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], Stopping()) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_the_help_states_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"], Stopping()) == 0
    assert re.search(r"Exit status: 0 done; 1 failed .*; 2 wrong usage", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [("--help",), ("status", "--root", "nowhere"), ("query", "select 1 as one")])
def test_no_color_turns_colours_off(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert COLOUR.search(on_terminal("--help", folder=tmp_path))
    shown = on_terminal(*arguments, folder=tmp_path, NO_COLOR="1")
    assert shown.strip() and not COLOUR.search(shown)


def on_terminal(*arguments: str, folder: Path, **variables: str) -> str:
    """What the command shows on a terminal with colours."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    command = subprocess.Popen([*PROGRAM, *arguments], cwd=folder, env=environment, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    with suppress(OSError):  # the program has ended
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    command.wait()
    return shown.decode()
