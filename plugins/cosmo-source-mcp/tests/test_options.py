"""Options: which can be combined, which values are valid, and what they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cosmo_core.errors import NeuronError
from cosmo_source_mcp import mcp
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.targets import PRESETS, ServerUrl

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cosmo_source_mcp import McpNeuron
    from cosmo_source_mcp.targets import Launch

    Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
    Make = Callable[..., McpNeuron]

SERVERS = Path(__file__).parent / "servers"
URL = "http://localhost:8000/mcp"


class Auth(httpx2.Auth):
    def __repr__(self) -> str:
        return "Auth()"


AUTH = Auth()


def launch(**options: Any) -> Launch:
    target = McpOptions.parse(options).target
    assert not isinstance(target, ServerUrl)
    return target


def test_unknown_option_error_names_the_known_options() -> None:
    with pytest.raises(
        TypeError, match=r"no option arg \(did you mean args.\), cmd.*; it has args, auth, command, cwd, env"
    ):
        mcp(cmd="x", arg=())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of command, server and url is needed, not none of them"),
        ({"command": "x", "url": URL}, "not command and url"),
        ({"command": "x", "server": "time", "url": URL}, "not command and server and url"),
        ({"url": URL, "args": []}, "args is for a server that is started here"),
        ({"url": URL, "env": {}}, "env is for a server that is started here"),
        ({"url": URL, "cwd": "/"}, "cwd is for a server that is started here"),
        ({"command": "x", "headers": {}}, "headers is for a server at a url"),
        ({"command": ""}, "command='': a non-empty string"),
        ({"command": 7}, "command=7: a non-empty string"),
        ({"command": "x\0"}, "command=.*: a non-empty string"),
        ({"command": "x", "args": "y"}, "args: a list of strings is needed; the given str"),
        ({"command": "x", "args": ["y", 7]}, "args.1.: a string"),
        ({"command": "x", "env": []}, "env: a mapping"),
        ({"command": "x", "env": {"A=B": "c"}}, "env: a key"),
        ({"command": "x", "env": {"A": 7}}, "env.'A'.: the value is not a valid string"),
        ({"command": "x", "cwd": 7}, "cwd=7: the path of a folder"),
        ({"command": "x", "tool": ""}, "tool='': a non-empty string"),
        ({"command": "x", "timeout": 0}, "timeout=0: a positive number"),
        ({"command": "x", "timeout": float("nan")}, "timeout=nan: a positive number"),
        ({"command": "x", "timeout": float("inf")}, "timeout=inf: a positive number"),
        ({"command": "x", "timeout": True}, "timeout=True: a positive number"),
        ({"command": "x", "timeout": "60"}, "timeout='60': a positive number"),
        ({"server": "tiem"}, "server='tiem': one of everything, fetch, .*, time, or command with args, is"),
        ({"server": ["time"]}, "server=.*: one of"),
        ({"server": "filesystem"}, "args: server='filesystem' needs the directories it may use"),
        ({"url": 7}, "url: an http:// or https:// URL is needed"),
        ({"url": "localhost:8000"}, "url: an http:// or https:// URL is needed"),
        ({"url": "http://"}, "url: an http:// or https:// URL is needed"),
        ({"url": "http://localhost:99999"}, "url: an http:// or https:// URL is needed"),
        ({"url": "http://me:secret@localhost"}, "url: leave out user and fragment"),
        ({"url": "http://localhost/#x"}, "url: leave out user and fragment"),
        ({"url": URL, "token": "a b"}, "token: a token of printable ASCII characters, or a function"),
        ({"url": URL, "token": 7}, "token: a token of printable ASCII characters, or a function"),
        ({"url": URL, "auth": "key"}, "auth: an httpx2.Auth, such as .*; the given str is not shown"),
        ({"url": URL, "auth": AUTH, "token": "c"}, "token and auth are two ways"),
        ({"command": "x", "token": "c"}, "token is for a server at a url"),
        ({"command": "x", "auth": AUTH}, "auth is for a server at a url"),
        ({"command": "x", "roots": "/srv"}, "roots: a list of strings"),
        ({"command": "x", "stream": 1}, "stream=1: True or False"),
        ({"command": "x", "start_timeout": 0}, "start_timeout=0: a positive number"),
        ({"url": URL, "headers": {"a b": "c"}}, "headers: a key"),
        ({"url": URL, "headers": {"a": "b\nc"}}, "headers.'a'.: the value"),
    ],
    ids=str,
)
def test_invalid_value_is_an_error_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mcp(**options)


def test_none_counts_as_absent() -> None:
    assert launch(command="x", args=None, env=None, cwd=None, tool=None, timeout=None, url=None).args == ()


def test_paths_become_strings() -> None:
    assert launch(command="x", args=[Path("/srv")]).args == ("/srv",)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_starts_its_server_with_the_users_arguments_after_its_own(name: str) -> None:
    made = launch(server=name, args=["/srv/data", "-x"], env={"A": "b"}, cwd="/")
    assert made.command in ("npx", "uvx")
    assert made.args == (*PRESETS[name].args, "/srv/data", "-x")
    assert any(name.removesuffix("thinking") in arg for arg in PRESETS[name].args)
    assert (made.env, made.cwd, made.name) == ({"A": "b"}, "/", name)


async def test_server_gets_env_and_cwd_and_not_the_environment_of_the_host(
    make: Make, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY_OF_THE_HOST", "secret")
    neuron = make(
        command=sys.executable,
        args=[SERVERS / "toolbox.py"],
        env={"MINE": "yes"},
        cwd=tmp_path,
    )
    found = [
        (await ask(neuron, "surroundings", variable=name))["result"]
        for name in ("MINE", "A_KEY_OF_THE_HOST", "PATH")
    ]
    assert [answer["value"] for answer in found] == ["yes", None, os.environ["PATH"]]
    assert tmp_path.samefile(found[0]["folder"])  # noqa: ASYNC240 - no other task runs


def test_query_of_a_url_is_not_shown() -> None:
    url = ServerUrl.parse("https://mcp.example/mcp?key=k%2B1&team=blue")
    assert url.shown == "https://mcp.example/mcp"
    assert {"k%2B1", "k+1", "blue"} <= set(url.secrets)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://mcp.example/", "http://proxy.example:3128"),
        ("http://other.example/", None),
        ("http://localhost:8000/mcp", None),
        ("http://127.0.0.1/mcp", None),
        ("http://[::1]/mcp", None),
    ],
)
def test_proxy_of_the_environment_is_used_except_for_local_servers(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "other.example")
    assert ServerUrl.parse(url).proxy == proxy


async def test_server_inherits_the_proxies_and_the_certificates(
    make: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "SSL_CERT_FILE": "/ca.pem",
        "UV_SYSTEM_CERTS": "true",
        "npm_config_cafile": "/npm.pem",
        "https_proxy": "http://u:passw0rd@proxy",
        "NO_PROXY": "localhost",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    neuron = make(command=sys.executable, args=[SERVERS / "toolbox.py"], env={"NO_PROXY": "mine"})
    wanted = {**given, "NO_PROXY": "mine", "NODE_EXTRA_CA_CERTS": "/ca.pem"}
    for name, value in wanted.items():
        assert (await ask(neuron, "surroundings", variable=name))["result"]["value"] == value
    with pytest.raises(NeuronError, match=r"told \[redacted\]"):
        await ask(neuron, "fail", reason="told passw0rd")
