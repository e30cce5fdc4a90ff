"""Opt-outs from fetching: headers, robots.txt, tdmrep.json (W3C TDM Reservation Protocol), and the user's blocklist."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi2_storage.locations.urls import Url, UrlError, parse_host, parse_url

AGENT = "codi2-open"
REFUSALS = {"noai", "noimageai", "noindex", "noimageindex", "none"}
NAMED = {
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
    "unavailable_after",
}  # directives that contain a colon


def opted_out(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether response headers forbid use: X-Robots-Tag for every agent or for this one, or tdm-reservation."""
    for name, value in headers:
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return True
        if name.lower() == "x-robots-tag" and refuses(value):
            return True
    return False


def refuses(tag: str) -> bool:
    """Parse 'noai, noindex' or 'agent: noai, ...': an agent's name applies until the next one."""
    meant = True
    for word in tag.lower().split(","):
        agent, colon, directive = word.partition(":")
        if colon and agent.strip() not in NAMED:
            meant, word = agent.strip() in ("*", AGENT), directive
        if meant and word.strip() in REFUSALS:
            return True
    return False


# --- patterns of paths -----------------------------------------------------------------------------------------------

ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%]")


def comparable(target: str) -> str:
    """A path or pattern in the form in which RFC 9309 compares them.

    Percent-codes in upper case, none for a letter, digit or -._~, and for everything that a URL cannot contain. For
    comparison only: a URL is requested as it is written.
    """

    def one(match: re.Match[str]) -> str:
        code = match[0]
        if len(code) == 3 and code[0] == "%":
            character = chr(int(code[1:], 16))
            unreserved = character.isascii() and (character.isalnum() or character in "-._~")
            return character if unreserved else code.upper()
        return "".join(f"%{byte:02X}" for byte in code.encode("utf-8", "replace"))

    return ESCAPE.sub(one, target)


def fits(pattern: str, path: str) -> bool:
    """Match as in robots.txt: the start of a path, * for anything, $ for its end."""
    if "*" not in pattern:
        return path == pattern[:-1] if pattern.endswith("$") else bool(pattern) and path.startswith(pattern)
    literal = pattern.replace("[", "[[]").replace("?", "[?]")
    return fnmatch.fnmatchcase(path, literal[:-1] if literal.endswith("$") else f"{literal}*")


@dataclass(frozen=True)
class Robots:
    """The rules of a robots.txt for this agent (RFC 9309), as (pattern, allowed)."""

    rules: tuple[tuple[str, bool], ...] = ()

    @classmethod
    def read(cls, text: str) -> Robots:
        """The rules of the groups that name this agent, else those for every agent."""
        groups: dict[str, list[tuple[str, bool]]] = {}
        agents: list[str] = []
        ruled = False
        for line in re.split(r"[\r\n]+", text.removeprefix("\ufeff")):
            name, _, value = line.partition("#")[0].partition(":")
            name, value = name.strip().lower(), value.strip()
            if name == "user-agent":
                agents, ruled = ([] if ruled else agents), False
                agents.append(value.lower().partition("/")[0].strip())
                groups.setdefault(agents[-1], [])
            elif name in ("allow", "disallow"):
                ruled = True
                rule = value if value.startswith(("/", "*")) else f"/{value}"
                for agent in agents if value else ():
                    groups[agent].append((comparable(rule), name == "allow"))
        ours = max((agent for agent in groups if agent and AGENT.startswith(agent)), key=len, default="*")
        return cls(tuple(groups.get(ours, ())))

    def allows(self, target: str) -> bool:
        """The longest matching pattern decides; of equally long ones, the one that allows."""
        path = comparable(target)
        return max(
            ((len(pattern), allowed) for pattern, allowed in self.rules if fits(pattern, path)), default=(0, True)
        )[1]


@dataclass(frozen=True)
class Site:
    """The rules of one site, read once: robots.txt, and tdmrep.json as (location, reserved)."""

    robots: Robots
    reservations: tuple[tuple[str, bool], ...]

    @classmethod
    def read(cls, robots: str | None, tdmrep: str | None) -> Site:
        """None: the site has no such file. An invalid tdmrep.json reserves nothing."""
        try:
            rules = json.loads(tdmrep or "[]")
        except (ValueError, RecursionError):
            rules = []
        listed = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
        reservations = [
            (comparable(str(rule.get("location", ""))), rule.get("tdm-reservation") == 1) for rule in listed
        ]
        return cls(Robots.read(robots or ""), tuple(reservations))

    def allows(self, url: Url) -> bool:
        """Whether robots.txt allows a URL."""
        return self.robots.allows(url.target)

    def reserves(self, url: Url) -> bool:
        """Whether tdmrep.json reserves a URL: the first rule whose location matches its path decides."""
        path = comparable(url.path)
        return next((reserved for location, reserved in self.reservations if fits(location, path)), False)


# --- one's own -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocklist:
    """Hosts, domains (*.example.org: it and all below) and URL prefixes (`comparable`) that are never requested."""

    hosts: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Blocklist:
        """One entry per line; # starts a comment. Raises FileNotFoundError, and UrlError for an invalid line."""
        hosts: set[str] = set()
        domains: list[str] = []
        beginnings: list[str] = []
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            entry = line.partition("#")[0].strip()
            try:
                if "://" in entry:
                    beginnings.append(comparable(parse_url(entry).href))
                elif entry.startswith("*."):
                    domains.append(parse_host(entry[2:]).rstrip("."))
                elif entry:
                    hosts.add(parse_host(entry).rstrip("."))
            except UrlError as error:
                raise UrlError(f"{path}, line {number}: {entry}: {error}") from None
        return cls(frozenset(hosts), tuple(domains), tuple(beginnings))

    def holds(self, url: Url) -> bool:
        host = url.host.rstrip(".")
        below = any(host == domain or host.endswith(f".{domain}") for domain in self.domains)
        return host in self.hosts or below or comparable(url.href).startswith(self.beginnings)

    def words(self) -> Mapping[str, Any]:
        return {"hosts": sorted(self.hosts), "domains": self.domains, "beginnings": self.beginnings}
