"""The `codi2` command-line interface. Each command calls a flow or a library function and prints the result.

Errors are one line; `--debug` shows the traceback.
"""

from __future__ import annotations

import codi2_flows.runtime.settings  # noqa: F401  isort: skip  (before Prefect)
import os
import select
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

from cyclopts import App, CycloptsError, Group

from codi2_flows.cli.data import DATA_COMMANDS
from codi2_flows.cli.fetch import FETCH_COMMANDS
from codi2_flows.cli.gc import KEEP_COMMANDS
from codi2_flows.cli.lineage import LINEAGE_COMMANDS
from codi2_flows.cli.mcp import MCP_COMMANDS
from codi2_flows.cli.model import MODEL_COMMANDS
from codi2_flows.cli.output.encoding import open_streams, use_utf8
from codi2_flows.cli.plugins import PLUGIN_COMMANDS
from codi2_flows.cli.reproduce import REPRODUCE_COMMANDS
from codi2_flows.cli.runs import RUN_COMMANDS
from codi2_flows.cli.serve import SERVE_COMMANDS
from codi2_flows.cli.server import SERVER_COMMANDS
from codi2_flows.runtime.errors import one_line
from codi2_storage.catalog.lineage import code_version
from codi2_storage.errors import UsageError
from codi2_storage.host.shutdown import Stopping, leave, listen

EPILOGUE = """Exit status: 0 done; 1 failed or stopped; 2 wrong usage: an unknown option, value, file, recipe or build.

--debug, with any command, prints the traceback of an error. The variable NO_COLOR turns colours off."""

app = App(
    name="codi2",
    help="CoDi-2, open: build the in-context multimodal dataset; train, evaluate and serve the model.",
    help_epilogue=EPILOGUE,
    version=code_version,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `run` handles it
)

GROUPS = {
    "Data": ("corpora", "fetch", "import", "build", "browse", "query", "explain", "diff", "export", "forget", "schema"),
    "Model": ("train", "evaluate", "retrain", "rollback", "lineage", "speedrun"),
    "Serving": ("serve", "chat", "generate", "mcp"),
    "Operations": (
        "demo",
        "server",
        "status",
        "logs",
        "resume",
        "reproduce",
        "pin",
        "unpin",
        "gc",
        "compact",
        "plugins",
    ),
}
"""Group -> commands, in the order of `codi2 --help`."""

COMMANDS = {
    command.__name__.rstrip("_"): command
    for command in (
        *DATA_COMMANDS,
        *FETCH_COMMANDS,
        *KEEP_COMMANDS,
        *LINEAGE_COMMANDS,
        *MCP_COMMANDS,
        *MODEL_COMMANDS,
        *PLUGIN_COMMANDS,
        *REPRODUCE_COMMANDS,
        *RUN_COMMANDS,
        *SERVE_COMMANDS,
        *SERVER_COMMANDS,
    )
}

for group_number, (title, names) in enumerate(GROUPS.items()):
    group = Group(title, sort_key=group_number)
    for number, name in enumerate(names):
        app.command(COMMANDS[name], name=name, group=group, sort_key=number)
options = Group("Options", sort_key=len(GROUPS))
app.register_install_completion_command(help="Install completion of commands and options for your shell.")
for flag in ("--help", "--version", "--install-completion"):
    app[flag].group = options


def main() -> None:
    """Entry point. It ends in bounded time after a signal, and skips the interpreter's teardown, which is slow with torch."""
    open_streams()
    use_utf8()
    stopping = listen()
    leave(run(sys.argv[1:], stopping))


def run(argv: Sequence[str], stopping: Stopping) -> int:
    """Run one command. Prints errors as one line to standard error. Returns the exit status."""
    arguments = [argument for argument in argv if argument != "--debug"]
    debug = len(arguments) < len(argv)
    if debug:
        os.environ["CODI2_DEBUG"] = "1"
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        if stopping.signal is not None or isinstance(error, KeyboardInterrupt):  # any error while stopping
            stopping.say("codi2: stopped; run the same command again to continue")
            return 1
        if isinstance(error, BrokenPipeError) and not sys.stdout.closed and broken(sys.stdout):
            return 1  # `codi2 query ... | head`: the reader has ended, which needs no message
        if isinstance(error, CycloptsError):
            print(f"codi2: {error}\nTry: codi2 {arguments[0] if arguments else ''} --help", file=sys.stderr)
            return 2
        if debug or not isinstance(error, Exception):
            traceback.print_exc()
            return 1
        print(f"codi2: {first_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError | FileNotFoundError) else 1
    finally:
        stopping.heard = True  # from now on a signal only has to end the process


def broken(stream: TextIO) -> bool:
    """Whether the reader of the stream has ended. If so, the stream is redirected to /dev/null."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return True


def first_line(error: Exception) -> str:
    """An error as one line, with the context for errors of Prefect's client."""
    line = one_line(error)
    if type(error).__module__.partition(".")[0] in {"httpx", "httpcore"}:  # only Prefect's client uses them
        return f"the Prefect server does not answer ({line}); run the same command again to continue"
    if type(error).__name__ == "TOMLDecodeError":  # only Prefect's settings are TOML
        return f"Prefect's settings (in $PREFECT_HOME, or ~/.prefect) are not valid TOML: {line}"
    return line


if __name__ == "__main__":
    main()
