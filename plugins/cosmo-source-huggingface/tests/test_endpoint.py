from __future__ import annotations

import pytest

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
    "url",
    ["", "localhost:8080", "ftp://host", "file:///etc/passwd", "http://", "http://host:99999", None, 8080],
)
def test_a_value_that_is_not_an_http_url_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        HuggingFaceEndpoint.parse(url)


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@host", "https://host?key=hunter2", "https://host#hunter2"]
)
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
