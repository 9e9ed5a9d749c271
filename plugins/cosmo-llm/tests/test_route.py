"""The proxy and the certificates that the environment names."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_llm import Failures
from cosmo_llm.http import Endpoint, HttpOptions, Transport, route
from cosmo_llm.http.route import Clients, Route
from cosmo_testing import ChatServer

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
LOOPBACK = ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "https://127.0.0.1:9"]
FIRST_CALL = """
import asyncio, sys, threading
from cosmo_core.errors import NeuronError
from cosmo_llm import Failures
from cosmo_llm.http import Endpoint, HttpOptions, Transport

imported = []

class Finder:
    def find_spec(name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            imported.append(name)

async def main():
    transport = Transport(HttpOptions(endpoint=Endpoint.parse("https://127.0.0.1:9"), max_retries=0))
    try:
        await transport.fetch(transport.call("/", {}, Failures(server="the toy", timeout_s=30)))
    except NeuronError as error:
        large = ("anyio", "certifi", "h11")
        print(error.code, [name for name in imported if name.partition(".")[0] in large])

sys.meta_path.insert(0, Finder)
asyncio.run(main())
"""

FAILURES = Failures(server="the toy", timeout_s=30)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def route_to(url: str) -> Route:
    return Route.to(Endpoint.parse(url))


# --- proxies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", LOOPBACK)
@pytest.mark.parametrize("proxy", ["ftp://proxy", "socks5://proxy:1080", "http://proxy:3128"])
async def test_a_server_on_this_machine_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str
) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "[::1],*bad*,[")
    assert route_to(url).proxy is None
    await (await route_to(url).client()).aclose()


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://models.example", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://models.example", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://models.example", None),
        ({"HTTPS_PROXY": "p:1"}, "https://models.example", "http://p:1"),
        ({"ALL_PROXY": "https://p:1"}, "http://models.example", "https://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example"}, "http://models.example", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "[2001:db8::1],x"}, "http://[2001:db8::1]:9", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "2001:db8::1"}, "http://[2001:db8::1]:9", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "[::1],other"}, "http://models.example", "http://p:1"),
        ({"ALL_PROXY": "ftp://p:1", "NO_PROXY": "*"}, "http://models.example", None),
    ],
)
async def test_the_proxy_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert route_to(url).proxy == (None if proxy is None else httpx.URL(proxy))
    await (await route_to(url).client()).aclose()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTPS_PROXY", "ftp://u:hunter2@proxy", "begins with ftp://"),
        ("HTTPS_PROXY", "http://", "HTTPS_PROXY"),
        ("ALL_PROXY", "http://hunter2 here:99999999", "not the URL of a proxy"),
        ("ALL_PROXY", "socks5://u:hunter2@proxy:1080", r"httpx\[socks\]"),
        ("https_proxy", "socks5h://proxy:1080", r"httpx\[socks\]"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_when_the_neuron_is_made(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setattr(route, "find_spec", lambda _: None)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=says) as caught:
        Transport(HttpOptions(endpoint=Endpoint.parse("https://models.example")))
    assert str(caught.value).startswith(name.upper())
    assert "add models.example to NO_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_proxy_gets_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ChatServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        transport = Transport(HttpOptions(endpoint=Endpoint.parse("http://models.example"), max_retries=0))
        with pytest.raises(NeuronError, match=r"no such path: http://models\.example/any"):
            await transport.fetch(transport.call("/any", {}, FAILURES))
        await transport.aclose()


def test_the_environment_does_not_matter_with_a_client_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "ftp://proxy")
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200)), trust_env=False)
    Transport(HttpOptions(endpoint=Endpoint.parse("https://models.example"), client=client))


# --- certificates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda path: path / "none", lambda path: path])
def test_certificates_that_cannot_be_read_are_named_when_the_neuron_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make(tmp_path)))
    with pytest.raises(ValueError, match=r"^SSL_CERT_FILE=.*cannot be read"):
        route_to("https://models.example")
    assert not route_to("http://models.example").uses_tls


def test_certificates_of_another_format_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ca.der"
    file.write_bytes(b"\x30\x82")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ValueError, match=r"^SSL_CERT_FILE=.*PEM"):
        route_to("https://127.0.0.1:9")


def test_a_missing_folder_of_certificates_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/nope")
    with pytest.raises(ValueError, match=r"^SSL_CERT_DIR='/nope'"):
        route_to("https://models.example")


async def test_certificates_that_cannot_be_loaded_are_an_error_of_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    transport = Transport(HttpOptions(endpoint=Endpoint.parse("https://models.example")))
    with pytest.raises(NeuronError, match="certificates cannot be loaded") as caught:
        await transport.fetch(transport.call("/", {}, FAILURES))
    assert caught.value.code == "PROVIDER_UNREACHABLE"


@pytest.mark.parametrize("url", ["http://models.example", "https://models.example"])
async def test_certificates_are_loaded_only_for_tls_and_never_in_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    threads = []
    load = ssl.SSLContext.load_verify_locations

    def loaded(self: ssl.SSLContext, *args: Any, **options: Any) -> None:
        threads.append(threading.current_thread())
        load(self, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", loaded)
    route._load_tls_context.cache_clear()
    clients = Clients(Endpoint.parse(url))
    assert await clients.current() is await clients.current()
    await clients.aclose()
    assert bool(threads) == url.startswith("https:")
    assert threading.main_thread() not in threads


def test_the_first_call_of_a_process_imports_nothing_in_the_event_loop() -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", FIRST_CALL], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "PROVIDER_UNREACHABLE []\n", "")


async def test_clients_of_a_process_share_the_loaded_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    route._load_tls_context.cache_clear()
    for _ in range(3):
        clients = Clients(Endpoint.parse("https://models.example"))
        await clients.current()
        await clients.aclose()
    assert route._load_tls_context.cache_info().misses == 1
