"""Statuses of a URL. Each row has one; rows with a transient status are fetched again by the next run."""

from __future__ import annotations

OK = "ok"
TIMEOUT, RESET, UNREACHABLE, TRUNCATED = "timeout", "reset", "unreachable", "truncated"
NO_ROBOTS = "robots_unreachable"  # a site whose rules cannot be read is not fetched for now
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
    """Whether the same URL may give another result later."""
    if status.startswith("http_"):
        code = int(status.removeprefix("http_"))
        return code >= 500 or code in PASSING_CODES
    return status in PASSING
