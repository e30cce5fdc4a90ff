"""Failures by webhook: a flow run that failed, crashed or was cancelled is told to the address in $CODI2_WEBHOOK.

One POST of JSON: {flow, run_id, state, reason, root, link}. Under `codi2 server` an automation of Prefect's tells it instead
(`automations.py`), which also knows of runs that were killed; the variable is then kept from the runs, so that none is told twice.
A message that cannot be delivered is said on stderr and never breaks a run.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from http.client import HTTPException

from codi2_storage.locations.urls import UrlError, parse_url

WEBHOOK = "CODI2_WEBHOOK"
NOTIFIED_STATES = ("failed", "crashed", "cancelled")
TIMEOUT = 5.0  # seconds


class WebhookError(ValueError):
    """What was given is no address that can be posted to."""


def check_url(url: str) -> str:
    """The URL as it is asked for. Raises WebhookError where it is none of http or https."""
    try:
        return parse_url(url).href
    except UrlError as error:
        raise WebhookError(f"--webhook {url}: {error}; one that begins with http:// or https:// is wanted") from None


def notify(flow: str, run_id: str, state: str, reason: str | None, root: str, link: str | None = None) -> bool:
    """Tell how a run ended, where it ended badly and someone wants to know. Returns whether it was delivered."""
    url = os.environ.get(WEBHOOK)
    if not url or state.lower() not in NOTIFIED_STATES:
        return False
    lines = (reason or "").strip().splitlines()
    about = {"flow": flow, "run_id": run_id, "state": state.lower(), "reason": lines[0] if lines else ""}
    return post(url, {**about, "root": root, "link": link or run_page_url()})


def post(url: str, message: dict[str, str | None]) -> bool:
    """POST once. What goes wrong is one line on stderr, without the URL: it may hold a secret."""
    try:
        data = json.dumps(message, ensure_ascii=False).encode()
        asked = parse_url(url)
        if asked.credentials:
            raise UrlError("a URL with a user name or a password is not posted to")
        request = urllib.request.Request(asked.href, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return True
    except (OSError, HTTPException, ValueError) as error:
        print(f"${WEBHOOK}: {message['state']} of {message['flow']} could not be told: {error}", file=sys.stderr)
        return False


def run_page_url() -> str | None:
    """Where Prefect shows the run that this is; None outside of a run or of a server."""
    if "prefect" not in sys.modules:
        return None
    from prefect.runtime import flow_run
    from prefect.settings import get_current_settings

    base, identity = get_current_settings().ui_url, flow_run.get_id()
    configured = get_current_settings().api.url
    return f"{base}/runs/flow-run/{identity}" if base and identity and configured else None
