from __future__ import annotations

import httpx
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_huggingface import HuggingFaceNeuron, huggingface
from cosmo_source_huggingface.options import HuggingFaceEndpoint


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
@pytest.mark.parametrize(
    "base",
    ["https://router.huggingface.co", "http://localhost:8080", "http://[::1]:8080", "https://host/team%2Fa"],
)
def test_all_forms_of_a_base_url_are_the_same_endpoint(base: str, path: str) -> None:
    endpoint = HuggingFaceEndpoint.parse(base + path)
    assert endpoint.base == base
    assert endpoint.url("/v1/chat/completions") == f"{base}/v1/chat/completions"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (
            "https://x.azure.com/openai/deployments/x/chat/completions?api-version=1",
            "https://x.azure.com/openai/deployments/x/chat/completions?api-version=1",
        ),
        (
            "https://x.azure.com/openai/deployments/x/?api-version=1",
            "https://x.azure.com/openai/deployments/x/chat/completions?api-version=1",
        ),
        ("https://host/v1beta/openai", "https://host/v1beta/openai/chat/completions"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai/chat/completions"),
        ("https://host/api/v3", "https://host/api/v3/chat/completions"),
        ("https://host/v2", "https://host/v2/chat/completions"),
        ("https://host/V1", "https://host/V1/chat/completions"),
        ("https://host/v1.5/", "https://host/v1.5/chat/completions"),
        ("https://host/v1-models", "https://host/v1-models/v1/chat/completions"),
        ("https://host/v2?a=b%20c&d", "https://host/v2/chat/completions?a=b%20c&d"),
        ("https://host/openai/v1", "https://host/openai/v1/chat/completions"),
        ("https://host/chat/completions", "https://host/chat/completions"),
        ("https://host/v4/chat/completions?x=/v1", "https://host/v4/chat/completions?x=/v1"),
        ("https://host/v8-engine", "https://host/v8-engine/v1/chat/completions"),
        ("https://host?x=1", "https://host/v1/chat/completions?x=1"),
    ],
)
def test_a_full_url_is_used_as_given_and_a_base_gets_one_version(given: str, url: str) -> None:
    assert HuggingFaceEndpoint.parse(given).url("/v1/chat/completions") == url


@pytest.mark.parametrize("path", ["", "/", "/v1", "/generate", "/generate_stream"])
def test_tgis_path_is_added_to_any_of_its_urls(path: str) -> None:
    endpoint = HuggingFaceEndpoint.parse(f"http://localhost:8080{path}?x=1")
    assert endpoint.url("/generate_stream") == "http://localhost:8080/generate_stream?x=1"


async def test_the_query_is_sent_and_never_shown() -> None:
    urls = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(400, json={"error": "you sent api-key=hunter2hunter2"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        neuron = huggingface(endpoint="https://host/v2?api-key=hunter2hunter2", client=client)
        assert isinstance(neuron, HuggingFaceNeuron)
        with pytest.raises(NeuronError) as caught:
            await neuron({"prompt": "Hi"}, [])
    assert urls == ["https://host/v2/chat/completions?api-key=hunter2hunter2"]
    assert "hunter2" not in f"{caught.value} {neuron!r} {HuggingFaceEndpoint.parse(urls[0])!r}"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://host", "file:///etc/passwd", "http://", "http://host:99999", None, 8080],
)
def test_a_value_that_is_not_an_http_url_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        HuggingFaceEndpoint.parse(url)


@pytest.mark.parametrize("url", ["https://user:hunter2@host", "https://host#hunter2"])
def test_a_url_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        HuggingFaceEndpoint.parse(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://router.huggingface.co", True),
        ("https://huggingface.co", True),
        ("https://abc.endpoints.huggingface.cloud", True),
        ("http://router.huggingface.co", False),
        ("https://nothuggingface.co", False),
        ("https://huggingface.co.evil.example", False),
        ("http://localhost:8080", False),
    ],
)
def test_only_https_hosts_of_huggingface_are_huggingface(url: str, expected: bool) -> None:
    assert HuggingFaceEndpoint.parse(url).is_huggingface is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", True),
        ("http://127.0.0.9:1", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
    ],
)
def test_is_loopback_recognises_this_machine(url: str, expected: bool) -> None:
    assert HuggingFaceEndpoint.parse(url).is_loopback is expected
