"""Folders of this program: its cache, a replacement for an unusable home folder, and short folders for sockets.

The cache is $CODI2_CACHE, else $XDG_CACHE_HOME/codi2, else ~/.cache/codi2, else in codi2-<user id> in the temporary
folder.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

SOCKET_PATH = 107  # characters that the path of a unix socket may have
SHORT = ("/tmp", "/var/tmp", "/dev/shm")
CACHE = "CODI2_CACHE"


class HomeError(OSError):
    """A folder that this program needs cannot be used. The message names it and the variable that sets it."""


def cache_home() -> Path:
    """The folder for files that can be fetched or made again."""
    if base := os.environ.get(CACHE):
        return Path(base)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "codi2"
    home = home_folder()
    return home / ".cache" / "codi2" if home is not None else stand_in() / "cache"


def home_folder() -> Path | None:
    """The user's home folder; None if there is none or it cannot be written to."""
    home = named_home()
    return home if home is not None and writable(home) else None


def named_home() -> Path | None:
    """The home folder by $HOME, else by the system's user list; None if it does not exist."""
    home = Path(os.environ.get("HOME") or os.path.expanduser(f"~{user_name()}"))
    return home if home.is_absolute() and home.is_dir() else None


def user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry in the user list
        return ""


def writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def stand_in() -> Path:
    """The replacement for a home folder: a private folder of this user in the temporary folder. Raises HomeError."""
    folder = Path(tempfile.gettempdir()) / f"codi2-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise HomeError(f"{folder} belongs to another user: set {CACHE} and HOME to folders that you can write to")
    return folder


def settle_home() -> None:
    """If the home folder cannot be written to, make libraries keep their files elsewhere. Variables the user set stay.

    A home that can be read stays HOME: credentials and configuration files are there.
    """
    if home_folder() is not None:
        return
    folder = stand_in()
    if named_home() is None:
        os.environ["HOME"] = str(folder)
    for name, under in (("PREFECT_HOME", "prefect"), ("MPLCONFIGDIR", "matplotlib"), ("npm_config_cache", "npm")):
        os.environ.setdefault(name, str(folder / under))


def socket_folder(prefix: str, inside: int, bases: Iterable[str] = ()) -> Path:
    """Create a folder in which a path of `inside` more characters is still short enough for a unix socket.

    It is created in the first of `bases`, $TMPDIR and the usual temporary folders that is short enough and writable.
    Raises HomeError.
    """
    for base in (*bases, tempfile.gettempdir(), *SHORT):
        if len(os.fsencode(base)) + len(f"/{prefix}12345678") + inside <= SOCKET_PATH and writable(Path(base)):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    raise HomeError(
        f"no temporary folder is short enough for sockets ({SOCKET_PATH} characters a path) and can be written to: "
        f"{', '.join((*bases, tempfile.gettempdir(), *SHORT))}; set TMPDIR to one that is"
    )
