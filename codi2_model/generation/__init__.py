"""Generation of replies to interleaved conversations: as a whole, as a stream, or over the turns of a session."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi2_model.generation.conversations import generate, stream
    from codi2_model.generation.session import Session

_MODULES = {"Session": "session", "generate": "conversations", "stream": "conversations"}

__all__ = ["Session", "generate", "stream"]


def __getattr__(name: str) -> Any:
    """Import on use, because `events` in this package must not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
