"""Webhook notifications: a flow run that failed, crashed or was cancelled is posted to the URL in $CODI2_WEBHOOK.

One POST of JSON: {flow, run_id, state, reason, root, link}. Under `codi2 server` a Prefect automation sends it instead
(`automations.py`), which also covers killed runs; the variable is then removed from the environment of the runs, so that
each is posted once. A failed delivery prints a warning and never breaks a run.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from http.client import HTTPException

from codi2_flows.runtime.temporary_server import server_configured
from codi2_storage.errors import UsageError
from codi2_storage.locations.urls import UrlError, parse_url

WEBHOOK = "CODI2_WEBHOOK"
NOTIFIED_STATES = ("failed", "crashed", "cancelled")
TIMEOUT = 5.0  # seconds


def check_url(url: str) -> str:
    """The normalised URL. Raises UsageError if it is not an http or https URL."""
    try:
        return parse_url(url).href
    except UrlError as error:
        raise UsageError(f"--webhook {url}: {error}; give a URL that begins with http:// or https://") from None


def notify(flow: str, run_id: str, state: str, reason: str | None, root: str) -> bool:
    """Post the end of a run if it failed, crashed or was cancelled, and a webhook is set. Returns whether it was delivered."""
    url = os.environ.get(WEBHOOK)
    if not url or state.lower() not in NOTIFIED_STATES:
        return False
    lines = (reason or "").strip().splitlines()
    message = {"flow": flow, "run_id": run_id, "state": state.lower(), "reason": lines[0] if lines else ""}
    return post(url, {**message, "root": root, "link": run_page_url()})


def post(url: str, message: dict[str, str | None]) -> bool:
    """POST the message once. An error prints one line without the URL, which may contain a secret."""
    try:
        data = json.dumps(message, ensure_ascii=False).encode()
        target = parse_url(url)
        if target.credentials:
            raise UrlError("a URL with a user name or a password is not supported")
        request = urllib.request.Request(target.href, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return True
    except (OSError, HTTPException, ValueError) as error:
        print(
            f"${WEBHOOK}: the message that {message['flow']} {message['state']} was not delivered: {error}",
            file=sys.stderr,
        )
        return False


def run_page_url() -> str | None:
    """URL of Prefect's page of the current flow run; None outside of a run or without a configured server."""
    if "prefect" not in sys.modules:
        return None
    from prefect.runtime import flow_run
    from prefect.settings import get_current_settings

    base, identity = get_current_settings().ui_url, flow_run.get_id()
    return f"{base}/runs/flow-run/{identity}" if base and identity and server_configured() else None
