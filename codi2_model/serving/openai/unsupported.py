"""Parameters of OpenAI's API, and of servers like it, that this model does not have: accepted at the values that change
nothing, refused by name at all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Neutral = Mapping[str, tuple[Any, ...]]
ANY = ("any",)
"""For what changes no reply at any value: names, labels and hints for OpenAI's own machines."""

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
    "n": "one reply a request: send the request several times, each with a seed of its own",
    "tools": "this model calls no tools",
    "functions": "this model calls no functions",
    "tool_choice": "this model calls no tools",
    "function_call": "this model calls no functions",
    "response_format": "this model keeps to no format but text",
    "logprobs": "probabilities of tokens are not given",
    "top_logprobs": "probabilities of tokens are not given",
    "reasoning_effort": "this model does not reason before it replies",
    "mask": "this model edits whole images",
    "stream": "media are not streamed here: /v1/chat/completions streams them",
    "conversation": "no conversations are stored: send the whole conversation as input",
    "prompt": "no prompts are stored: send the text as input",
    "instructions": "this model makes the audio that the input describes and reads nothing aloud",
}
OTHERWISE = "this model cannot do that"


def why_refused(name: str, value: Any, neutral: Neutral) -> str | None:
    """Why the value of a parameter of the table cannot be honored; None where it changes nothing."""
    values = neutral[name]
    if value is None or values is ANY or any(same(value, known) for known in values):
        return None
    allowed = f", or send {' or '.join(map(json.dumps, values))}" if values else ""
    return f"{REASONS.get(name, OTHERWISE)}: leave {name} out{allowed}"


def same(value: Any, known: Any) -> bool:
    """Equal, and a truth value only where a truth value is meant."""
    return value == known and isinstance(value, bool) == isinstance(known, bool)
