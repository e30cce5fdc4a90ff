"""Load on a server for a while, with replicas of the model killed: what was answered, what was lost and why, and memory."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

REPLICA = "ray::ServeReplica:codi2:"  # how Ray names their processes
ROLES = ("model", "image", "audio", "video", "ingress")
SAMPLE_SECONDS = 1.0
SETTLED_SECONDS = 15.0  # how long a new process may take to reach its size


@dataclass
class Load:
    """What came of the requests so far."""

    codes: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def took(self, seconds: float, code: str, reason: str | None) -> None:
        """An answer; `reason` is None where it needs none, empty where it lacks one."""
        self.codes[code] += 1
        self.slowest = max(self.slowest, seconds)
        if reason == "":
            self.unexplained.append(code)


@dataclass
class Process:
    """A replica's resident memory (seconds since the start, MiB)."""

    role: str
    sizes: list[tuple[float, float]] = field(default_factory=list)

    def growth(self) -> tuple[float, float] | None:
        """MiB at first and at last, once it has settled; None for one that did not live long enough."""
        settled = [size for at, size in self.sizes if at - self.sizes[0][0] >= SETTLED_SECONDS]
        third = len(settled) // 3
        return (max(settled[:third]), max(settled[-third:])) if third else None


def soak(
    url: str,
    body: Callable[[int], dict[str, Any]],
    seconds: float,
    at_once: int,
    kill_every: float,
    victim: str = "model",
) -> bool:
    """Keep `at_once` requests under way, every second one streamed. Prints a table; whether no failure lacked a reason."""
    load, seen, killed = Load(), dict[int, Process](), list[int]()
    numbers, end, begun = itertools.count(), time.monotonic() + seconds, time.monotonic()
    askers = [threading.Thread(target=_ask, args=(url, body, numbers, end, load), daemon=True) for _ in range(at_once)]
    for asker in askers:
        asker.start()
    print(f"{'s':>5} {'answers':>8} {'killed':>7}   statuses; MiB of each replica", flush=True)
    shown = due = begun
    while any(asker.is_alive() for asker in askers):
        now = time.monotonic()
        alive = replicas(os.getpid())
        for pid, role in alive.items():
            seen.setdefault(pid, Process(role)).sizes.append((now - begun, resident(pid)))
        if kill_every and now - due >= kill_every and now < end:
            due = now
            those = [pid for pid, role in alive.items() if role == victim]
            killed.append(those[len(killed) % len(those)])
            os.kill(killed[-1], signal.SIGKILL)
        if now - shown >= max(5.0, seconds / 20):
            shown = now
            sizes = [f"{seen[pid].role} {seen[pid].sizes[-1][1]:.0f}" for pid in alive]
            print(f"{now - begun:5.0f} {load.codes.total():8} {len(killed):7}   {dict(load.codes)}; {', '.join(sizes)}", flush=True)  # fmt: skip
        time.sleep(SAMPLE_SECONDS)
    return _report(load, seen, killed, time.monotonic() - begun)


def _report(load: Load, seen: dict[int, Process], killed: list[int], seconds: float) -> bool:
    total = load.codes.total()
    print(f"{total} answers in {seconds:.0f} s ({total / seconds:.1f} a second, slowest {load.slowest:.1f} s)")
    print(f"statuses {dict(load.codes)}   replicas killed {len(killed)}   without a reason {len(load.unexplained)}")
    for pid, process in seen.items():
        if (found := process.growth()) is not None:
            print(f"memory of {process.role} {pid}: {found[0]:.0f} MiB once settled, {found[1]:.0f} MiB at the end")
    for reason in load.unexplained[:10]:
        print("unexplained:", reason)
    return not load.unexplained


def _ask(
    url: str, body: Callable[[int], dict[str, Any]], numbers: itertools.count[int], end: float, load: Load
) -> None:
    with httpx.Client(timeout=300) as client:
        while time.monotonic() < end:
            number = next(numbers)
            begun = time.monotonic()
            asked = body(number) | {"stream": number % 2 == 1}
            try:
                code, reason = _answer(client, f"{url}/v1/chat/completions", asked)
            except httpx.HTTPError as error:
                code, reason = f"{type(error).__name__}: {error}", ""
            load.took(time.monotonic() - begun, code, reason)


def _answer(client: httpx.Client, url: str, asked: dict[str, Any]) -> tuple[str, str | None]:
    """Status, and the reason of a refusal; an error within a stream counts as its own."""
    if not asked["stream"]:
        answer = client.post(url, json=asked)
        return (str(answer.status_code), None) if answer.status_code == 200 else _refused(answer)
    with client.stream("POST", url, json=asked) as answer:
        if answer.status_code != 200:
            answer.read()
            return _refused(answer)
        events = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    if len(events) < 2 or events[-1] != "[DONE]":
        return "stream cut off", ""
    error = json.loads(events[-2]).get("error")
    if error is None:
        return "200", None
    return f"{error['code']} in a stream", error["message"] if error["code"] == "unavailable" else ""


def _refused(answer: httpx.Response) -> tuple[str, str]:
    """Fit reasons are those of a queue that is full and of a replica that was lost, both with when to come again."""
    explained = answer.status_code in (429, 503) and "Retry-After" in answer.headers
    return str(answer.status_code), answer.json()["error"]["message"] if explained else ""


def replicas(parent: int) -> dict[int, str]:
    """pid -> role of the application's replicas among the processes that descend from `parent`."""
    roles = {}
    for process in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            name = "".join(process.cmdline()[:1])
            if name.startswith(REPLICA):
                roles[process.pid] = name.removeprefix(REPLICA).partition(".")[0]
    return {pid: role for pid, role in sorted(roles.items()) if role in ROLES}


def resident(pid: int) -> float:
    """MiB; 0 for a process that has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss / 2**20)
    except psutil.Error:
        return 0.0
