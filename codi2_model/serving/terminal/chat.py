"""A conversation with the model in a terminal: words are streamed, media become files, and pictures are shown.

codi2 chat                       /image dog.png turns the next message into one that holds the picture
printf 'Draw a dog.\n' | codi2 chat --out made    each line is a message
"""

from __future__ import annotations

import io
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

import numpy as np
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_model.evaluation.report.outputs import encode_medium
from codi2_model.generation.events import Event, MediumBegun, MediumDone, TextDelta
from codi2_model.modules.media import VIDEO_FPS
from codi2_model.serving.batch.request_files import LIMITS
from codi2_model.serving.http.media import Limits, MediaRefused, read_medium
from codi2_model.serving.terminal.completion import line_so_far, with_completion
from codi2_model.serving.terminal.graphics import drawn
from codi2_storage.host.shutdown import requested
from codi2_storage.locations.files import write_whole

HELP = """\
/image PATH   put a picture into your next message, where you are in it
/audio PATH   the same with a sound            /video PATH   the same with a clip
/with text,image,audio,video                   what a reply may hold (one medium alone: exactly one of it)
/seed N       seed of the next replies         /steps N   /guidance X   (alone: what it is)
/save DIR     from now on files go there       /new    a new conversation
/help         this                             /quit   or end of input, or Ctrl-C at an empty prompt
Words after a path go into the message too: /image dog.png make it blue
"""
SETTINGS: dict[str, tuple[Callable[[str], Any], float, float]] = {  # how it is read, from, to
    "seed": (int, 0, 2**63 - 1), "steps": (int, 1, LIMITS.steps), "guidance": (float, 0, 30),
}  # fmt: skip
FILES = ("image", "audio", "video")
COMMANDS = (*FILES, "with", *SETTINGS, "save", "new", "help", "quit")


class ChatError(ValueError):
    """What was typed cannot be done; the message says why."""


@dataclass
class Chat:
    """One conversation: what was typed so far, where files go, how replies are made."""

    session: Any
    out: Path
    graphics: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    screen: IO[str] = field(default_factory=lambda: sys.stdout)
    pending: list[dict[str, Any]] = field(default_factory=list)
    made: int = 0
    failed: int = 0
    fresh: bool = True
    """Whether the screen is at the beginning of a line."""

    def run(self, lines: Iterable[str], interactive: bool = False) -> int:
        """Answer line by line until the input ends or /quit. Returns how many lines could not be done."""
        for line in lines:
            try:
                if self.line(line.rstrip("\r\n")):
                    break
            except (ChatError, ValueError, OSError) as error:
                self.failed += 1
                self.say(f"! {' '.join(str(error).split())}\n")
            except KeyboardInterrupt:  # ends the reply; where nobody types, everything
                if not interactive or requested.is_set():
                    raise
                self.say("(stopped; Ctrl-C once more ends the chat)\n")
        return self.failed

    def prompt(self) -> str:
        media = "".join(f"[{part['type']}]" for part in self.pending if part["type"] != "text")
        return f"{media}> "

    def line(self, line: str) -> bool:
        """One line as it was typed. True where it ends the conversation."""
        words = line.strip()
        if not words:
            return False
        if not words.startswith("/"):
            self.pending.append({"type": "text", "text": words})
            self.answer()
            return False
        name, _, rest = words[1:].partition(" ")
        if name in ("quit", "exit"):
            return True
        self.command(name, rest.strip())
        return False

    def command(self, name: str, rest: str) -> None:
        if name == "help":
            self.say(HELP)
        elif name in FILES:
            self.attach(name, rest)
        elif name == "save":
            self.out = Path(self.wanted(name, rest, "a folder")).expanduser()
        elif name == "with":
            self.choose(rest)
        elif name in SETTINGS:
            self.set(name, rest)
        elif name == "new":
            self.session.restart()
            self.pending.clear()
        else:
            raise ChatError(f"/{name}: no such command; /help lists them")

    def choose(self, rest: str) -> None:
        """What replies may hold; without a list, say what it is."""
        has = ("text", *self.session.model.config.modalities)
        chosen = tuple(word.strip() for word in rest.split(",") if word.strip())
        if unknown := [word for word in chosen if word not in has]:
            raise ChatError(f"/with: no modality {unknown[0]!r}: this model has {', '.join(has)}")
        if chosen:
            self.options["modalities"] = chosen
        else:
            self.say(f"with {','.join(self.options.get('modalities', has))}\n")

    def set(self, name: str, value: str) -> None:
        """A setting of the replies to come; without a value, say what it is."""
        read, low, high = SETTINGS[name]
        if not value:
            self.say(f"{name} {self.options.get(name, 'as the model has it')}\n")
            return
        try:
            number = read(value)
        except ValueError:
            raise ChatError(f"/{name}: {value!r} is not a number") from None
        if not low <= number <= high:
            raise ChatError(f"/{name}: {value} is not from {low} to {high}")
        self.options[name] = number

    def attach(self, modality: str, rest: str) -> None:
        """Put a file into the message; words that follow the path go after it, and send it."""
        path, words = split_path(self.wanted(modality, rest, "a path"))
        self.pending.append({"type": modality, "value": read_file(modality, path)})
        if words:
            self.line(words)

    def wanted(self, name: str, rest: str, what: str) -> str:
        if not rest:
            raise ChatError(f"/{name}: {what} is missing")
        return rest

    def answer(self) -> None:
        """Send what was typed and show the reply as it comes. A turn that fails was never said."""
        content, self.pending = self.pending, []
        try:
            for event in self.session.stream(content, **self.options):
                self.tell(event)
        except BaseException:
            self.pending = [part for part in content if part["type"] != "text"]  # files need not be named again
            raise
        finally:
            if not self.fresh:
                self.say("\n")
        if not self.session.messages[-1]["content"]:
            self.say("(an empty reply)\n")

    def tell(self, event: Event) -> None:
        """Show what happens while a reply is made."""
        if isinstance(event, TextDelta):
            self.say(event.text)
        elif isinstance(event, MediumBegun):
            self.say(f"{'' if self.fresh else chr(10)}[{event.modality} ")
        elif isinstance(event, MediumDone):
            self.show(event)
        elif event.step % max(1, event.steps // 10) == 0:
            self.say(".")

    def show(self, event: MediumDone) -> None:
        """Write a medium as a file, say where, and show it where the terminal can."""
        data, extension = encode_medium(event.modality, event.value)
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.free_path(event.modality, extension)
        write_whole(path, data)
        self.say(f"] {path}{about(event)}\n")
        if (picture := as_picture(event)) is not None:
            self.say(drawn(picture, self.graphics))

    def free_path(self, modality: str, extension: str) -> Path:
        while True:
            self.made += 1
            path = self.out / f"{modality}-{self.made:03d}.{extension}"
            if not path.exists():
                return path

    def say(self, text: str) -> None:
        self.screen.write(text)
        self.screen.flush()
        self.fresh = text.endswith("\n") if text else self.fresh


def split_path(rest: str) -> tuple[str, str]:
    """The path, quoted where it holds blanks, and the words that follow it. A file's whole name needs no quotes."""
    if Path(rest).expanduser().is_file():
        return rest, ""
    if rest[0] in "'\"":
        end = rest.find(rest[0], 1)
        if end < 0:
            raise ChatError(f"{rest}: the quotation mark is not closed")
        return shlex.split(rest[: end + 1])[0], rest[end + 1 :].strip()
    path, _, words = rest.partition(" ")
    return path, words.strip()


def read_file(modality: str, name: str) -> Any:
    """A file's value. Raises ChatError naming the file."""
    path = Path(name).expanduser()
    limits = Limits()
    try:
        if path.stat().st_size > limits.medium_bytes:
            raise ChatError(f"{name}: larger than {limits.medium_bytes / 1024 / 1024:g} MiB")
        return read_medium(modality, path.read_bytes(), limits)
    except MediaRefused as error:
        raise ChatError(f"{name}: {error}") from None
    except OSError as error:
        raise ChatError(f"{name}: {error.strerror or error}") from None


def about(event: MediumDone) -> str:
    if event.modality == "image":
        return f" ({event.value.width} x {event.value.height})"
    rate = SAMPLE_RATE if event.modality == "audio" else VIDEO_FPS
    return f" ({len(event.value) / rate:.1f} s)"


def as_picture(event: MediumDone) -> Image.Image | None:
    """What of a medium can be looked at: a picture, or four frames of a clip side by side."""
    if event.modality == "image":
        return event.value
    if event.modality == "video":
        chosen = event.value[np.linspace(0, len(event.value) - 1, 4).round().astype(int)]
        return Image.fromarray(np.concatenate(list(chosen), axis=1))
    return None


def chat(checkpoint: str | Path, out: str, options: dict[str, Any], system: str = "") -> int:
    """Talk on standard input and output. Returns how many lines could not be done."""
    from codi2_model.checkpoints.registry import checkpoint_folder, load_model
    from codi2_model.generation.session import Session
    from codi2_model.serving.terminal.graphics import protocol

    folder = checkpoint_folder(checkpoint)
    model, processor = load_model(folder)
    found = Chat(Session(model, processor, system), Path(out), protocol(terminal=sys.stdout.isatty()), options)
    interactive = sys.stdin.isatty()
    if not interactive:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a line that is no text is still one line
        return found.run(sys.stdin)
    found.say(f"{', '.join(('text', *model.config.modalities))}. /help lists what you can do.\n")
    with Interrupts() as interrupts:
        return found.run(typed(found, interrupts), interactive=True)


class Interrupts:
    """Ctrl-C while someone types, which does not end the command yet: `line` is what was typed of a line by then."""

    line = ""

    def __enter__(self) -> Interrupts:
        self.before = signal.signal(signal.SIGINT, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.line = line_so_far()  # readline forgets it on the way out
        raise KeyboardInterrupt


def typed(talk: Chat, interrupts: Interrupts) -> Iterator[str]:
    """Lines as they are typed, until the input ends. Ctrl-C clears what the message holds so far; where it is empty, it ends."""
    with_completion(COMMANDS, FILES)
    while True:
        try:
            yield input(talk.prompt())
        except EOFError:
            talk.say("\n")
            return
        except KeyboardInterrupt:
            if requested.is_set():  # SIGTERM, or the terminal is gone
                raise
            if not talk.pending and not interrupts.line:
                talk.say("\n")
                return
            talk.say("\n(message cleared; Ctrl-C once more ends the chat)\n")
            talk.pending.clear()
