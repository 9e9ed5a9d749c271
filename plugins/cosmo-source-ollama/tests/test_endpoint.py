from __future__ import annotations

import logging

import pytest

from cosmo_source_ollama import ollama
from cosmo_source_ollama.endpoint import OllamaEndpoint


def test_without_ollama_host_the_default_url_is_used() -> None:
    assert OllamaEndpoint.from_environment().base == "http://localhost:11434"


# The rules, and most of the cases, come from Ollama's own programs.
@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("", "http://localhost:11434"),
        ("  ", "http://localhost:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4"),
        ("http://1.2.3.4:4321", "http://1.2.3.4:4321"),
        ("https://1.2.3.4", "https://1.2.3.4"),
        ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
        ("https://example.com/ollama", "https://example.com/ollama"),
        ("example.com:56789/path/", "http://example.com:56789/path"),
        ("ollama.com", "https://ollama.com"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104 - to be connected to, not bound
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:1234", "http://[::1]:1234"),
        ("https://0.0.0.0:4321", "https://127.0.0.1:4321"),
        ("http://", "http://127.0.0.1"),
    ],
)
def test_ollama_host_is_parsed_by_ollamas_rules(
    monkeypatch: pytest.MonkeyPatch, host: str, base: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert OllamaEndpoint.from_environment().base == base


@pytest.mark.parametrize("host", [":66000", ":65536", ":-1", "127.0.0.1:", ":http", ":" + "9" * 5_000])
def test_an_invalid_port_in_ollama_host_is_logged_and_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    with caplog.at_level(logging.WARNING):
        assert OllamaEndpoint.from_environment().base == "http://127.0.0.1:11434"
    assert "OLLAMA_HOST has no usable port" in caplog.text


@pytest.mark.parametrize("host", ["ftp://1.2.3.4", "two words", ":0", "a:b:c", "[a:b]"])
def test_an_invalid_ollama_host_raises_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    with pytest.raises(ValueError, match=r"^OLLAMA_HOST="):
        ollama(model="llama3")


@pytest.mark.parametrize("host", ["user:hunter2@1.2.3.4", "http://user:hunter2@host", "host?key=hunter2"])
def test_a_secret_in_ollama_host_is_not_shown(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    with pytest.raises(ValueError, match=r"^OLLAMA_HOST.*headers") as caught:
        ollama(model="llama3")
    assert "hunter2" not in str(caught.value)


def test_the_option_overrides_ollama_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "ftp://nowhere")
    assert "http://gpu-box:8080" in repr(ollama(model="llama3", endpoint="http://gpu-box:8080"))


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/", "/api/chat", "/api/chat/"])
@pytest.mark.parametrize("base", ["http://localhost:11434", "https://host/ollama"])
def test_all_forms_of_a_base_url_are_the_same_endpoint(base: str, path: str) -> None:
    endpoint = OllamaEndpoint.parse(base + path)
    assert endpoint.url("/api/chat") == f"{base}/api/chat"


def test_the_query_of_an_endpoint_is_sent_and_never_shown() -> None:
    endpoint = OllamaEndpoint.parse("https://host/api?key=hunter2")
    assert endpoint.url("/api/chat") == "https://host/api/chat?key=hunter2"
    assert "hunter2" not in repr(endpoint)
