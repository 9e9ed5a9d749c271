from __future__ import annotations

import re
from typing import Any

import pytest

from cosmo_source_huggingface import huggingface
from cosmo_source_huggingface.options import HuggingFaceOptions

LOCAL = "http://localhost:8080"


def test_the_router_needs_a_key_and_the_error_says_where_to_get_one() -> None:
    with pytest.raises(ValueError, match=r"HF_TOKEN.*huggingface\.co/settings/tokens"):
        huggingface(model="m")


@pytest.mark.parametrize("endpoint", ["https://router.huggingface.co/", "https://router.huggingface.co/v1"])
def test_all_forms_of_the_routers_url_are_recognised(endpoint: str) -> None:
    with pytest.raises(ValueError, match="HF_TOKEN"):
        huggingface(endpoint=endpoint, model="m")


def test_the_router_needs_a_model() -> None:
    with pytest.raises(ValueError, match="model"):
        huggingface(api_key="hf_x")


def test_the_router_refuses_use_chat_api_false() -> None:
    with pytest.raises(ValueError, match="use_chat_api"):
        huggingface(api_key="hf_x", model="m", use_chat_api=False)


def test_other_endpoints_do_not_need_a_key_or_a_model() -> None:
    assert "localhost:8080" in repr(huggingface(endpoint=LOCAL))


def test_hf_token_is_used_for_huggingface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_env\n")
    assert HuggingFaceOptions.parse({"model": "m"}).api_key == "hf_env"
    assert HuggingFaceOptions.parse({"model": "m", "api_key": "hf_given"}).api_key == "hf_given"
    dedicated = "https://abc.endpoints.huggingface.cloud"
    assert HuggingFaceOptions.parse({"endpoint": dedicated}).api_key == "hf_env"


def test_hf_token_is_not_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    assert HuggingFaceOptions.parse({"endpoint": "https://models.example"}).api_key is None


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_hf_token_counts_as_missing(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match="HF_TOKEN"):
        huggingface(model="m")


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(TypeError) as caught:
        huggingface(endpoint=LOCAL, temprature=1)
    assert "temprature" in str(caught.value)
    assert all(name in str(caught.value) for name in HuggingFaceOptions.names())


def test_the_options_are_the_documented_ones() -> None:
    documented = (
        "endpoint model api_key use_chat_api max_new_tokens temperature top_p stop system extra timeout "
        "idle_timeout max_retries stream headers client"
    )
    assert HuggingFaceOptions.names() == set(documented.split())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", 7),
        ("api_key", 7),
        ("api_key", "two words"),
        ("api_key", "line\nbreak"),
        ("api_key", "schlüssel"),
        ("use_chat_api", 1),
        ("max_new_tokens", 0),
        ("max_new_tokens", 1.5),
        ("max_new_tokens", True),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", 10**400),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", True),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", [1]),
        ("stop", {"a": 1}),
        ("system", ""),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("inf")),
        ("timeout", None),
        ("idle_timeout", 0),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", 101),
        ("extra", "seed"),
        ("extra", {"seed": float("nan")}),
        ("stream", "yes"),
        ("headers", ["a"]),
        ("headers", {"bad name": "x"}),
        ("headers", {"x-name": "line\nbreak"}),
        ("headers", {"x-name": 7}),
        ("headers", {7: "x"}),
        ("client", object()),
    ],
)
def test_a_value_that_cannot_work_is_refused_at_construction(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}"):
        huggingface(**{"endpoint": LOCAL, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("api_key", "hf secret"), ("headers", {"x-key": "hf secret\n"}), ("headers", "hf secret")],
)
def test_a_refused_secret_is_not_shown(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        huggingface(**{"endpoint": LOCAL, name: value})
    assert "secret" not in str(caught.value)
