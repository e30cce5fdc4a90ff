"""Fetches one URL: opt-outs are honored, redirects are followed one by one, transient errors are retried.

A URL is normalized once (`codi2_storage.locations.urls`): what is checked is what is sent, byte for byte.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from codi2_datasets.fetching import status
from codi2_datasets.fetching.addresses import Checked, PrivateAddress, is_private
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.rules import AGENT, Site, opted_out
from codi2_storage.locations.urls import Url, UrlError, parse_url

HOPS = 5
MOVED = {301, 302, 303, 307, 308}
LONGEST_WAIT = 10.0  # seconds that a Retry-After is waited for; a longer one is left to the next run
RULES_BYTES, RULES_SECONDS = 512 * 1024, 10.0
LARGE, LARGE_AT_ONCE = (
    2**20,
    4,
)  # bodies above LARGE bytes are read at most LARGE_AT_ONCE at a time, so that memory stays bounded


@dataclass(frozen=True)
class Answer:
    status: str
    data: bytes = b""
    code: int | None = None
    error: str = ""
    wait: float | None = None
    """Seconds to wait before a retry, by the server's Retry-After."""
    location: str = ""
    """Target of a redirect, as in the header."""


@dataclass
class Partial:
    """The beginning of an interrupted body, for servers that can send the rest."""

    data: bytes = b""
    tag: str = ""


@dataclass
class Client:
    """Fetches over one session. Use it within one event loop; each site's rules are requested once."""

    options: Options
    session: aiohttp.ClientSession
    _hosts: defaultdict[str, asyncio.Semaphore] = field(init=False)
    _rules: dict[str, asyncio.Task[Site | Answer]] = field(default_factory=dict)
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))

    def __post_init__(self) -> None:
        self._hosts = defaultdict(lambda: asyncio.Semaphore(self.options.per_host))

    async def get(self, url: str) -> Answer:
        """The body at a URL, or the status that explains why there is none. Transient errors are retried."""
        try:
            first = parse_url(url)
        except UrlError as error:
            return Answer(status.BAD_ADDRESS, error=str(error))
        partial, chance = Partial(), random.Random(first.href)
        for attempt in range(self.options.retries + 1):
            answer = await self.follow(first, partial)
            wait = answer.wait if answer.wait is not None else 0.5 * 2**attempt * chance.uniform(0.5, 1.5)
            if not status.transient(answer.status) or attempt == self.options.retries or wait > LONGEST_WAIT:
                return answer
            await asyncio.sleep(wait)
        raise AssertionError("at least one try is made")

    async def follow(self, url: Url, partial: Partial) -> Answer:
        seen: set[str] = set()
        for _ in range(HOPS + 1):
            if url.href in seen:
                return Answer(status.REDIRECTS, error="a circle")
            seen.add(url.href)
            if refused := await self.refused(url):
                return refused
            async with self._hosts[url.origin]:
                answer = await answer_or_error(lambda url=url: self.ask(url, partial))  # type: ignore[misc]
            if not answer.location:
                return answer
            try:
                url = url.redirect(answer.location)
            except UrlError as error:
                return Answer(status.BAD_ADDRESS, error=f"a redirect: {error}", code=answer.code)
        return Answer(status.REDIRECTS, error=f"more than {HOPS}")

    async def refused(self, url: Url) -> Answer | None:
        """Why a URL must not be requested; None if it may be."""
        if url.credentials:
            return Answer(status.BAD_ADDRESS, error="holds a user name or a password")
        if self.options.blocklist.holds(url):
            return Answer(status.BLOCKED)
        if self.private(url):
            return Answer(status.PRIVATE, error=url.host)
        if not self.options.robots:
            return None
        rules = await self.rules(url.origin)
        if isinstance(rules, Answer):
            return rules
        if not rules.allows(url):
            return Answer(status.ROBOTS)
        return Answer(status.OPTED_OUT, error="tdmrep.json") if rules.reserves(url) else None

    def private(self, url: Url) -> bool:
        return url.host not in self.options.hosts and is_private(url.host)

    async def rules(self, site: str) -> Site | Answer:
        """A site's rules, requested once; an Answer if the site must not be read for now."""
        if site not in self._rules:
            self._rules[site] = asyncio.create_task(self.read_rules(site))
        return await asyncio.shield(self._rules[site])

    async def read_rules(self, site: str) -> Site | Answer:
        robots = await answer_or_error(lambda: self.ask_rules(parse_url(f"{site}/robots.txt")))
        if robots.status == status.PRIVATE:
            return robots
        if status.transient(robots.status):
            return Answer(status.NO_ROBOTS, error=robots.status)
        tdmrep = await answer_or_error(lambda: self.ask_rules(parse_url(f"{site}/.well-known/tdmrep.json")))
        return Site.read(text_of(robots), text_of(tdmrep))

    async def ask_rules(self, url: Url) -> Answer:
        timeout = aiohttp.ClientTimeout(total=RULES_SECONDS)
        for _ in range(HOPS):
            if self.private(url):
                return Answer(status.PRIVATE)
            async with self.session.get(on_the_wire(url), allow_redirects=False, timeout=timeout) as response:
                if response.status in MOVED:
                    url = url.redirect(response.headers.get("Location", ""))
                    continue
                if response.status != 200:
                    return Answer(status.of_code(response.status))
                body = bytearray()
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > RULES_BYTES:
                        break
                return Answer(status.OK, bytes(body[:RULES_BYTES]))
        return Answer(status.REDIRECTS)

    async def ask(self, url: Url, partial: Partial) -> Answer:
        """One request, without following redirects."""
        headers = {"Range": f"bytes={len(partial.data)}-", "If-Range": partial.tag} if partial.data else {}
        async with self.session.get(on_the_wire(url), headers=headers, allow_redirects=False) as response:
            code = response.status
            if code in MOVED and "Location" in response.headers:
                return Answer(status.REDIRECTS, code=code, location=response.headers["Location"])
            if code not in (200, 206):
                return Answer(status.of_code(code), code=code, wait=seconds(response.headers.get("Retry-After")))
            if self.options.robots and opted_out(response.headers.items()):
                return Answer(status.OPTED_OUT, code=code, error="a header")
            if code == 200:
                partial.data = b""
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {len(partial.data)}-"):
                partial.data = b""
                return Answer(status.TRUNCATED, code=code, error="another part than was asked for")
            resumable = response.headers.get("Accept-Ranges") == "bytes"
            partial.tag = response.headers.get("ETag", "") if resumable else ""
            if (response.content_length or 0) + len(partial.data) > self.options.most_bytes:
                return Answer(status.TOO_LARGE, code=code, error=f"{response.content_length:,} bytes")
            return await self.body(response, partial)

    async def body(self, response: aiohttp.ClientResponse, partial: Partial) -> Answer:
        received, held = bytearray(partial.data), False
        try:
            async for piece in response.content.iter_any():
                received += piece
                if len(received) > self.options.most_bytes:
                    partial.data = b""
                    return Answer(
                        status.TOO_LARGE, code=response.status, error=f"more than {self.options.most_bytes:,}"
                    )
                if len(received) > LARGE and not held:
                    await self._large.acquire()
                    held = True
        except BaseException:
            partial.data = bytes(received) if partial.tag else b""
            raise
        finally:
            if held:
                self._large.release()
        return Answer(status.OK, bytes(received), response.status)


def on_the_wire(url: Url) -> URL:
    """The URL in the form that aiohttp sends unchanged. The query is part of the path, because yarl drops an empty one."""
    return URL.build(scheme=url.scheme, host=url.host, port=url.port, path=url.target, encoded=True)


async def answer_or_error(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The result of `ask`, with exceptions converted to an Answer."""
    try:
        return await ask()
    except aiohttp.ClientPayloadError as error:
        return Answer(status.TRUNCATED, error=plain(error))
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        return Answer(status.TIMEOUT, error=plain(error))
    except aiohttp.ClientConnectorError as error:
        cause: BaseException | None = error.os_error
        while cause is not None:
            if isinstance(cause, PrivateAddress):
                return Answer(status.PRIVATE, error=str(cause))
            cause = cause.__cause__ or cause.__context__
        return Answer(status.UNREACHABLE, error=plain(error))
    except PrivateAddress as error:
        return Answer(status.PRIVATE, error=str(error))
    except (aiohttp.InvalidURL, UrlError) as error:
        return Answer(status.BAD_ADDRESS, error=plain(error))
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        return Answer(status.RESET, error=plain(error))
    except (aiohttp.ClientError, ValueError, OSError) as error:  # a response that is not HTTP
        return Answer(status.RESET, error=plain(error))


def plain(error: BaseException) -> str:
    """An error in one line without memory addresses or ports, which would differ between runs."""
    return type(error).__name__


def text_of(answer: Answer) -> str | None:
    return answer.data.decode("utf-8", "replace") if answer.status == status.OK else None


def seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; a date counts as longer than `LONGEST_WAIT`."""
    if retry_after is None:
        return None
    return float(retry_after) if retry_after.strip().isdecimal() else LONGEST_WAIT + 1


def session_of(options: Options) -> aiohttp.ClientSession:
    """A session that connects only to checked addresses and caches DNS for five minutes."""
    connector = aiohttp.TCPConnector(limit=options.at_once, resolver=Checked(options.hosts), ttl_dns_cache=300)
    timeout = aiohttp.ClientTimeout(total=options.timeout, sock_connect=options.stall, sock_read=options.stall)
    headers = {"User-Agent": AGENT, "Accept": f"{options.media}/*,*/*;q=0.5", "Accept-Encoding": "identity"}
    return aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**19
    )
