"""What can come of an address. A row has one status; those that may come out otherwise another day are fetched again."""

from __future__ import annotations

OK = "ok"
TIMEOUT, RESET, UNREACHABLE, TRUNCATED = "timeout", "reset", "unreachable", "truncated"
NO_ROBOTS = "robots_unreachable"  # a site that cannot say its rules is not read, today
REDIRECTS, TOO_LARGE, TOO_MANY_PIXELS, NOT_MEDIA, DAMAGED = (
    "redirects",
    "too_large",
    "too_many_pixels",
    "not_media",
    "damaged",
)
OPTED_OUT, ROBOTS, BLOCKED, PRIVATE = "opted_out", "robots", "blocked", "private_address"
HASH, BAD_ADDRESS, BAD_ROW = "hash_mismatch", "bad_address", "bad_row"

PASSING = {TIMEOUT, RESET, UNREACHABLE, TRUNCATED, NO_ROBOTS}
PASSING_CODES = {408, 425, 429}


def of_code(code: int) -> str:
    return f"http_{code}"


def transient(status: str) -> bool:
    """Whether the same address may give something else another day."""
    if status.startswith("http_"):
        code = int(status.removeprefix("http_"))
        return code >= 500 or code in PASSING_CODES
    return status in PASSING
