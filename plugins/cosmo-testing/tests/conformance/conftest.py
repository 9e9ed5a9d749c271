from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module's ``SUITE``, with more lines in its class, in a pytest without any plugin."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(lines: str = "", *arguments: str) -> pytest.RunResult:
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        pytester.makepyfile(test_double=f"{request.module.SUITE}{body}")
        return pytester.runpytest_subprocess("-W", "error", "-rsx", *arguments)

    return run
