"""Chat with the model in a terminal: text is streamed, media are written to files, and images are shown.

codi2 chat                                        /image dog.png adds an image to the next message
printf 'Draw a dog.\n' | codi2 chat --out media   each line is a message
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
/image PATH   add an image to your message     /audio PATH   add an audio file     /video PATH   add a video
/with text,image,audio,video                   allowed modalities of replies; a single one besides text is required
/seed N   /steps N   /guidance X               settings of the next replies; without a value: show the current one
/save DIR     folder for generated files       /new          start a new conversation
/help         show this help                   /quit         leave; also end of input, or Ctrl-C at an empty prompt
Text after a path is added to the message, which is sent: /image dog.png make it blue
"""
SETTINGS: dict[str, tuple[Callable[[str], Any], float, float]] = {  # type, minimum, maximum
    "seed": (int, 0, 2**63 - 1), "steps": (int, 1, LIMITS.steps), "guidance": (float, 0, 30),
}  # fmt: skip
FILES = ("image", "audio", "video")
COMMANDS = (*FILES, "with", *SETTINGS, "save", "new", "help", "quit")


class ChatError(ValueError):
    """Invalid input; the message gives the reason."""


@dataclass
class Chat:
    """A conversation: the pending message, the folder for files, and the settings of replies."""

    session: Any
    out: Path
    graphics: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    screen: IO[str] = field(default_factory=lambda: sys.stdout)
    pending: list[dict[str, Any]] = field(default_factory=list)
    made: int = 0
    failed: int = 0
    fresh: bool = True
    """Whether the cursor is at the start of a line."""

    def run(self, lines: Iterable[str], interactive: bool = False) -> int:
        """Process lines until the end of input or /quit. Returns the number of lines that failed."""
        for line in lines:
            try:
                if self.line(line.rstrip("\r\n")):
                    break
            except (ChatError, ValueError, OSError) as error:
                self.failed += 1
                self.say(f"! {' '.join(str(error).split())}\n")
            except KeyboardInterrupt:  # ends the reply, or the chat if it is not interactive
                if not interactive or requested.is_set():
                    raise
                self.say("(stopped; press Ctrl-C again to end the chat)\n")
        return self.failed

    def prompt(self) -> str:
        media = "".join(f"[{part['type']}]" for part in self.pending if part["type"] != "text")
        return f"{media}> "

    def line(self, line: str) -> bool:
        """Process one line. Returns True if it ends the chat."""
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
            self.out = Path(self.argument(name, rest, "a folder")).expanduser()
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
        """Set the allowed modalities of replies; without a list, show them."""
        known = ("text", *self.session.model.config.modalities)
        modalities = tuple(word.strip() for word in rest.split(",") if word.strip())
        if unknown := [word for word in modalities if word not in known]:
            raise ChatError(f"/with: no modality {unknown[0]!r}: this model has {', '.join(known)}")
        if modalities:
            self.options["modalities"] = modalities
        else:
            self.say(f"with {','.join(self.options.get('modalities', known))}\n")

    def set(self, name: str, value: str) -> None:
        """Set a setting of the next replies; without a value, show it."""
        parse, low, high = SETTINGS[name]
        if not value:
            self.say(f"{name} {self.options.get(name, '(default of the model)')}\n")
            return
        try:
            number = parse(value)
        except ValueError:
            raise ChatError(f"/{name}: {value!r} is not a number") from None
        if not low <= number <= high:
            raise ChatError(f"/{name}: {value} is not from {low} to {high}")
        self.options[name] = number

    def attach(self, modality: str, rest: str) -> None:
        """Add a file to the message. If text follows the path, it is added too and the message is sent."""
        path, words = split_path(self.argument(modality, rest, "a path"))
        self.pending.append({"type": modality, "value": read_file(modality, path)})
        if words:
            self.line(words)

    def argument(self, name: str, rest: str, what: str) -> str:
        """The argument of a command. Raises ChatError if it is missing."""
        if not rest:
            raise ChatError(f"/{name}: {what} is missing")
        return rest

    def answer(self) -> None:
        """Send the pending message and stream the reply. A message that fails is not part of the conversation."""
        content, self.pending = self.pending, []
        try:
            for event in self.session.stream(content, **self.options):
                self.show_event(event)
        except BaseException:
            self.pending = [part for part in content if part["type"] != "text"]  # keep the files for the next attempt
            raise
        finally:
            if not self.fresh:
                self.say("\n")
        if not self.session.messages[-1]["content"]:
            self.say("(an empty reply)\n")

    def show_event(self, event: Event) -> None:
        """Print the text, progress or medium of an event."""
        if isinstance(event, TextDelta):
            self.say(event.text)
        elif isinstance(event, MediumBegun):
            self.say(f"{'' if self.fresh else chr(10)}[{event.modality} ")
        elif isinstance(event, MediumDone):
            self.show(event)
        elif event.step % max(1, event.steps // 10) == 0:
            self.say(".")

    def show(self, event: MediumDone) -> None:
        """Write a medium to a file, print its path, and show it if the terminal can."""
        data, extension = encode_medium(event.modality, event.value)
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.free_path(event.modality, extension)
        write_whole(path, data)
        self.say(f"] {path}{size_text(event)}\n")
        if (image := preview_image(event)) is not None:
            self.say(drawn(image, self.graphics))

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
    """The path (quoted if it contains spaces) and the text after it. If the whole is a file, it needs no quotes."""
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
    """Decode a media file. Raises ChatError with the name of the file."""
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


def size_text(event: MediumDone) -> str:
    """The size of an image, or the duration of audio or video."""
    if event.modality == "image":
        return f" ({event.value.width} x {event.value.height})"
    rate = SAMPLE_RATE if event.modality == "audio" else VIDEO_FPS
    return f" ({len(event.value) / rate:.1f} s)"


def preview_image(event: MediumDone) -> Image.Image | None:
    """An image of a medium for the terminal: the image itself, or four frames of a video side by side."""
    if event.modality == "image":
        return event.value
    if event.modality == "video":
        frames = event.value[np.linspace(0, len(event.value) - 1, 4).round().astype(int)]
        return Image.fromarray(np.concatenate(list(frames), axis=1))
    return None


def chat(checkpoint: str | Path, out: str, options: dict[str, Any], system: str = "") -> int:
    """Chat on standard input and output. Returns the number of lines that failed."""
    from codi2_model.checkpoints.registry import checkpoint_folder, load_model
    from codi2_model.generation.session import Session
    from codi2_model.serving.terminal.graphics import protocol

    folder = checkpoint_folder(checkpoint)
    model, processor = load_model(folder)
    session, shown_as = Session(model, processor, system), protocol(terminal=sys.stdout.isatty())
    conversation = Chat(session, Path(out), shown_as, {"upscale": True, **options})
    interactive = sys.stdin.isatty()
    if not interactive:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # invalid UTF-8 must not end the chat
        return conversation.run(sys.stdin)
    conversation.say(f"Modalities: {', '.join(('text', *model.config.modalities))}. /help lists the commands.\n")
    with Interrupts() as interrupts:
        return conversation.run(typed_lines(conversation, interrupts), interactive=True)


class Interrupts:
    """Handler of Ctrl-C during input, which does not end the command. `line`: the text of the interrupted line."""

    line = ""

    def __enter__(self) -> Interrupts:
        self.before = signal.signal(signal.SIGINT, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.line = line_so_far()  # readline discards it after the exception
        raise KeyboardInterrupt


def typed_lines(conversation: Chat, interrupts: Interrupts) -> Iterator[str]:
    """Typed lines until the end of input. Ctrl-C clears the pending message, or ends the chat if there is none."""
    with_completion(COMMANDS, FILES)
    while True:
        try:
            yield input(conversation.prompt())
        except EOFError:
            conversation.say("\n")
            return
        except KeyboardInterrupt:
            if requested.is_set():  # SIGTERM, or the terminal was closed
                raise
            if not conversation.pending and not interrupts.line:
                conversation.say("\n")
                return
            conversation.say("\n(message cleared; press Ctrl-C again to end the chat)\n")
            conversation.pending.clear()
