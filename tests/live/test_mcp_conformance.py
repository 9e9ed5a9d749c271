"""The official conformance suite for MCP clients, run against a Neuron of the MCP source."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = "@modelcontextprotocol/conformance@0.1.16"
CLIENT = Path(__file__).with_name("mcp_conformance_client.py")
INSTALL_S = 300
SCENARIO_S = 60

# The suite names the protocol versions, drafts and extensions that each scenario belongs to; these are all.
PASSING = (
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
    "auth/2025-03-26-oauth-endpoint-fallback",
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
    "auth/client-credentials-jwt",
    "auth/client-credentials-basic",
    "auth/cross-app-access-complete-flow",
)
FAILING = {
    "auth/2025-03-26-oauth-metadata-backcompat": (
        "the metadata at the origin names another issuer; the SDK refuses it, by RFC 8414, section 3.3"
    ),
}

pytestmark = pytest.mark.timeout(INSTALL_S + SCENARIO_S)


def unavailable(reason: str) -> None:
    """Skip the test; fail it where everything has to be there."""
    if os.environ.get("COSMO_REQUIRE_LIVE"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def node_package() -> str:
    """The package with the program that the package ``node`` installs by a script, which npm may not run."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), "arm64")
    system = {"win32": "win"}.get(sys.platform, sys.platform)
    prefix = "node-bin" if (system, machine) == ("darwin", "arm64") else "node"
    return f"{prefix}-{system}-{machine}"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the suite; it needs Node.js 22."""
    npm = shutil.which("npm")
    if npm is None:
        unavailable("npm is missing: install Node.js (https://nodejs.org), which includes it")
    folder = tmp_path_factory.mktemp("conformance")
    node = node_package()
    command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", SUITE, f"{node}@22"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)  # noqa: S603
    if done.returncode:
        unavailable(f"npm cannot install the suite: {done.stderr[-500:]}")
    modules = folder / "node_modules"
    program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    return [str(modules / node / "bin" / "node"), str(program)]


def test_every_scenario_of_the_suite_is_here(suite: list[str]) -> None:
    listed = subprocess.run([*suite, "list", "--client"], capture_output=True, text=True, timeout=SCENARIO_S)  # noqa: S603
    names = {line.split()[1] for line in listed.stdout.splitlines() if line.startswith("  - ")}
    assert names == {*PASSING, *FAILING}


@pytest.mark.parametrize(
    "scenario",
    [
        *PASSING,
        *(
            pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=reason))
            for name, reason in FAILING.items()
        ),
    ],
)
async def test_scenario_passes(suite: list[str], tmp_path: Path, scenario: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*suite, "client", "--scenario", scenario, "--command", f"{sys.executable} {CLIENT}"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SCENARIO_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed.decode()[-3_000:]
