"""Just enough of the Chrome DevTools protocol to use a page as a person does: type, attach, press keys, look."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=900,900",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",  # a microphone that beeps, and may be used
)  # fmt: skip


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.log: list[dict[str, Any]] = []  # what the page did by itself: requests, exceptions, console

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self.log.append(message)

    def run(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", "script failed"))
        return result["result"].get("value")

    def wait_for(self, script: str, seconds: float = 20.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"the page never came to: {script}")

    def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, shift: bool = False) -> None:
        about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r" if key == "Enter" else "", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def attach(self, selector: str, *files: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drop(self, selector: str, *files: Path) -> None:
        """Drag files from elsewhere over the middle of an element, and let go."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.run(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def click(self, label: str, within: str = "body") -> None:
        """Click the first button that is called so."""
        script = (
            f"[...document.querySelectorAll({within + ' button'!r})].find((b) => b.textContent === {label!r}"
            f" || b.ariaLabel === {label!r} || b.textContent.startsWith({label!r})).click()"
        )
        self.run(script)

    def unnamed(self) -> list[str]:
        """What people can use or must be told of, and that has no name for those who do not see it."""
        wanted = {
            "button",
            "textbox",
            "link",
            "image",
            "slider",
            "checkbox",
            "spinbutton",
            "article",
            "dialog",
            "group",
        }
        wanted |= {"Audio", "Video", "progressbar", "region", "navigation"}
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in wanted]
        return [node["role"]["value"] for node in shown if not node.get("name", {}).get("value", "").strip()]

    def audit(self, axe: str) -> list[str]:
        """The serious and critical findings of axe-core, whose script is `axe`, with the elements that they are about."""
        self.call("Runtime.evaluate", expression=axe)
        found = self.run("axe.run(document, {resultTypes: ['violations']})")
        assert len(found["passes"]) > 10  # it has looked
        return [
            f"{rule['id']} ({rule['impact']}): {', '.join(' '.join(node['target']) for node in rule['nodes'])}"
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]

    def width(self, pixels: int) -> None:
        """Make the page as wide as a screen, a phone's if it is narrow."""
        about = {"height": 812, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, **about)

    def scheme(self, name: str) -> None:
        """light or dark"""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def requested(self) -> list[str]:
        """Addresses the page asked for, data URLs left out."""
        sent = [m["params"]["request"]["url"] for m in self.log if m.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """Exceptions, and errors that the browser logged (a refused policy, a missing file)."""
        entries = [m["params"]["entry"] for m in self.log if m.get("method") == "Log.entryAdded"]
        thrown = [str(m["params"]) for m in self.log if m.get("method") == "Runtime.exceptionThrown"]
        return thrown + [f"{e['text']} {e.get('url', '')}" for e in entries if e["level"] == "error"]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A fresh headless Chromium with one page."""
    chromium = find_chromium()
    assert chromium is not None
    process = subprocess.Popen(
        [chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        end = time.monotonic() + 30
        while not (port_file.exists() and port_file.read_text().strip()):
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError("chromium did not start")
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as response:
            target = next(entry for entry in json.load(response) if entry["type"] == "page")
        with connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it and all that it started; its profile is thrown away
        process.wait()
