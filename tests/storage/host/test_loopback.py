"""Proxy variables never touch loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx
import pytest
import requests

from codi2_storage.host.loopback import spare_loopback

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "example.org, localhost"}, "example.org,localhost,127.0.0.1,::1"),
        ({"no_proxy": ".corp", "NO_PROXY": "10.0.0.1"}, ".corp,10.0.0.1,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
        ({"no_proxy": ",,"}, "localhost,127.0.0.1,::1"),
    ],
)
def test_loopback_is_added_to_both_spellings_and_what_stood_there_stays(given: dict[str, str], expected: str) -> None:
    environment = dict(given)
    spare_loopback(environment)
    spare_loopback(environment)
    assert environment == {"no_proxy": expected, "NO_PROXY": expected}


def test_grpc_which_reads_a_variable_of_its_own_is_told_too() -> None:
    environment = {"no_grpc_proxy": "a"}
    spare_loopback(environment)
    assert environment["no_grpc_proxy"] == "a,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::1]:9/"])
def test_every_client_goes_to_loopback_directly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert requests.utils.get_environ_proxies(url)
    environment = dict(os.environ)
    spare_loopback(environment)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, environment[name])
    assert not requests.utils.get_environ_proxies(url)
    assert urllib.request.proxy_bypass(httpx.URL(url).host)
    with httpx.Client() as client:
        assert client._transport_for_url(httpx.URL(url)) is client._transport


def test_whatever_imports_prefect_through_us_spares_loopback(tmp_path: Path) -> None:
    code = "import codi2_flows.runtime.settings, os; print(os.environ['no_proxy'], os.environ['NO_PROXY'])"
    environment = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["localhost,127.0.0.1,::1"] * 2
