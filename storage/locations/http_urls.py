"""Makes fsspec's HTTP file system leave URLs unchanged, in requests and in redirects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from fsspec.config import conf
from multidict import CIMultiDict, CIMultiDictProxy

from codi2_storage.locations.urls import UrlError, parse_url


class Response(aiohttp.ClientResponse):
    """A response whose redirect is resolved as browsers do, before aiohttp follows it."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:  # type: ignore[override]  # a property of aiohttp's own kind
        location = self._headers.get("Location")
        if not location:
            return self._headers
        headers = CIMultiDict(self._headers)
        with suppress(UrlError):  # aiohttp raises its own error for it
            headers["Location"] = parse_url(str(self.url)).redirect(location).href
        return CIMultiDictProxy(headers)


def options_of(scheme: str) -> dict[str, Any]:
    """Options of fsspec's file system for `http` or `https`, merged with those of the user's fsspec configuration."""
    own: Mapping[str, Any] = conf.get(scheme, {}).get("client_kwargs", {})
    return {"encoded": True, "client_kwargs": {**own, "requote_redirect_url": False, "response_class": Response}}
