"""The distribution: public names, and the example of the README."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from importlib.metadata import metadata, requires
from pathlib import Path

import cosmo_llm
from cosmo_testing import ChatServer

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(MESSAGES,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
FAILING = """
for given in {"temprature": 1}, {"temperature": -1}:
    try:
        Echo(endpoint="URL", **given)
    except (TypeError, ValueError) as error:
        print(f"{type(error).__name__}: {error}")


async def fail():
    neuron = Echo(endpoint="URL", api_key="sk-wrong")
    try:
        await neuron({"prompt": "Hi"}, [])
    except Exception as error:
        print(f"{type(error).__name__} {error.code}: {error}")
    await neuron.aclose()


asyncio.run(fail())
"""


def test_the_distribution_requires_only_the_core_and_its_four_libraries() -> None:
    needed = {re.split(r"[<>=!~ ]", line, maxsplit=1)[0] for line in requires("cosmo-llm") or []}
    assert needed == {"anyio", "attrs", "cosmo-core", "httpx", "msgspec"}
    assert "cosmo-plugin" in metadata("cosmo-llm")["Keywords"]


def test_every_public_name_exists() -> None:
    for name in cosmo_llm.__all__:
        assert hasattr(cosmo_llm, name)


async def printed_by(program: str) -> str:
    """Run a program with warnings as errors; return its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    return printed.decode()


async def test_the_readmes_example_runs() -> None:
    assert "http://localhost:8080" in EXAMPLE
    async with ChatServer() as server:
        printed = await printed_by(EXAMPLE.replace("http://localhost:8080", server.url))
    assert printed.startswith("Hello, Cosmonapse!")


async def test_the_readmes_error_messages_are_those_of_the_example() -> None:
    async with ChatServer(api_key="sk-right") as server:
        program = EXAMPLE.replace("asyncio.run(main())", FAILING).replace("URL", server.url)
        printed = (await printed_by(program)).replace(server.url, "http://localhost:8080")
    for line, shown in zip(printed.splitlines(), MESSAGES.splitlines(), strict=True):
        assert line.startswith(shown.removesuffix("…"))
