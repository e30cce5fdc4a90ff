"""Who wants not to be fetched: headers, robots.txt, tdmrep.json (W3C TDM Reservation Protocol), a blocklist of one's own."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

AGENT = "codi2-open"
REFUSALS = {"noai", "noimageai", "noindex", "noimageindex", "none"}
NAMED = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}  # directives that hold a colon


def opted_out(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an answer's headers keep it from being used: X-Robots-Tag for everybody or for us, or tdm-reservation."""
    for name, value in headers:
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return True
        if name.lower() == "x-robots-tag" and refuses(value):
            return True
    return False


def refuses(tag: str) -> bool:
    """'noai, noindex' or 'agent: noai, ...': an agent's name holds until the next one."""
    meant = True
    for word in tag.lower().split(","):
        agent, colon, directive = word.partition(":")
        if colon and agent.strip() not in NAMED:
            meant, word = agent.strip() in ("*", AGENT), directive
        if meant and word.strip() in REFUSALS:
            return True
    return False


@dataclass(frozen=True)
class Site:
    """The rules of one site, read once: robots.txt, and tdmrep.json as (location, reserved)."""

    robots: RobotFileParser | None
    reservations: tuple[tuple[str, bool], ...]

    @classmethod
    def read(cls, robots: str | None, tdmrep: str | None) -> Site:
        """None: the site has no such file. A tdmrep.json that is none reserves nothing."""
        parser = None
        if robots is not None:
            parser = RobotFileParser()
            parser.parse(robots.splitlines())
        try:
            rules = json.loads(tdmrep or "[]")
        except (ValueError, RecursionError):
            rules = []
        listed = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
        return cls(parser, tuple((str(rule.get("location", "")), rule.get("tdm-reservation") == 1) for rule in listed))

    def allows(self, url: str) -> bool:
        """Whether robots.txt lets us read an address."""
        return self.robots is None or self.robots.can_fetch(AGENT, url)

    def reserves(self, url: str) -> bool:
        """Whether tdmrep.json reserves an address: the first rule whose location fits it decides."""
        path = urlsplit(url).path or "/"
        return next((reserved for location, reserved in self.reservations if fits(location, path)), False)


def fits(pattern: str, path: str) -> bool:
    """As in robots.txt: the start of a path, * for anything, $ for its end."""
    literal = pattern.replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(path, literal[:-1] if literal.endswith("$") else f"{literal}*") if pattern else False


@dataclass(frozen=True)
class Blocklist:
    """Hosts, domains (*.example.org: it and all below) and beginnings of addresses that are never asked."""

    hosts: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Blocklist:
        """One entry a line, # begins a comment. Raises FileNotFoundError."""
        lines = [line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        beginnings = tuple(line for line in lines if "://" in line)
        names = [line.lower() for line in lines if line and "://" not in line]
        domains = tuple(name[2:] for name in names if name.startswith("*."))
        return cls(frozenset(name for name in names if not name.startswith("*.")), domains, beginnings)

    def holds(self, url: str, host: str) -> bool:
        host = host.lower().rstrip(".")
        below = any(host == domain or host.endswith(f".{domain}") for domain in self.domains)
        return host in self.hosts or below or url.startswith(self.beginnings)

    def words(self) -> Mapping[str, Any]:
        return {"hosts": sorted(self.hosts), "domains": self.domains, "beginnings": self.beginnings}
