"""Hashes of checkpoints by content: of the weights, and of the settings."""

from __future__ import annotations

import hashlib
from pathlib import Path


def weights_digest(folder: str | Path) -> str:
    """sha256 over the safetensors files of a checkpoint, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def settings_digest(folder: str | Path) -> str:
    """Hash of config, vocabulary and chat template: all files except the weights that affect a checkpoint's replies."""
    files = sorted(path for path in Path(folder).iterdir() if path.suffix in {".json", ".jinja"})
    content = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:16]
