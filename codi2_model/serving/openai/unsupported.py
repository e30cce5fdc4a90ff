"""Parameters of OpenAI's API and similar servers that this model does not support.

They are accepted at values that change nothing, and refused by name at all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Neutral = Mapping[str, tuple[Any, ...]]
ANY = ("any",)
"""Accept any value: names, labels and hints that never change a reply."""

HINTS: dict[str, tuple[Any, ...]] = {
    "metadata": ANY, "store": ANY, "prediction": ANY, "prompt_cache_key": ANY, "prompt_cache_retention": ANY,
    "safety_identifier": ANY, "service_tier": ("auto", "default"),
}  # fmt: skip
CHAT: dict[str, tuple[Any, ...]] = {
    **HINTS,
    "n": (1,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "response_format": ({"type": "text"},),
    "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (True, False), "functions": ([],),
    "function_call": ("none", "auto"), "web_search_options": (), "reasoning_effort": ("none",), "verbosity": ("medium",),
    "top_k": (-1, 0), "min_p": (0,), "repetition_penalty": (1,), "usage": ({"include": True}, {"include": False}),
    "views": (True, False),
}  # fmt: skip
IMAGES: dict[str, tuple[Any, ...]] = {
    "quality": ("auto", "standard"), "style": (), "background": ("auto", "opaque"), "moderation": ("auto", "low"),
    "output_compression": (100,), "partial_images": (0,), "stream": (False,), "input_fidelity": ("low",), "mask": (),
}  # fmt: skip
SPEECH: dict[str, tuple[Any, ...]] = {"voice": ANY, "speed": (1,), "instructions": ("",)}
RESPONSES: dict[str, tuple[Any, ...]] = {
    **HINTS,
    "conversation": (), "background": (False,), "prompt": (), "max_tool_calls": ANY,
    "parallel_tool_calls": (True, False), "truncation": ("auto", "disabled"), "top_logprobs": (0,), "include": ANY,
    "context_management": (), "moderation": (),
}  # fmt: skip
REASONS = {
    "n": "a request has one reply: send it several times with different seeds",
    "tools": "this model does not call tools",
    "functions": "this model does not call functions",
    "tool_choice": "this model does not call tools",
    "function_call": "this model does not call functions",
    "response_format": "this model supports only the format text",
    "logprobs": "token probabilities are not supported",
    "top_logprobs": "token probabilities are not supported",
    "reasoning_effort": "this model does not reason before it replies",
    "mask": "this model edits whole images",
    "stream": "this route does not stream: use /v1/chat/completions",
    "conversation": "conversations are not stored: send the whole conversation as input",
    "prompt": "prompts are not stored: send the text as input",
    "instructions": "this model generates the sound that the input describes and does not read it aloud",
}
OTHERWISE = "this model does not support it"


def why_refused(name: str, value: Any, neutral: Neutral) -> str | None:
    """The reason to refuse a parameter of the table at this value; None if it is accepted."""
    values = neutral[name]
    if value is None or values is ANY or any(same(value, known) for known in values):
        return None
    allowed = f", or send {' or '.join(map(json.dumps, values))}" if values else ""
    return f"{REASONS.get(name, OTHERWISE)}: leave {name} out{allowed}"


def same(value: Any, known: Any) -> bool:
    """Whether the values are equal, with booleans distinct from numbers."""
    return value == known and isinstance(value, bool) == isinstance(known, bool)
