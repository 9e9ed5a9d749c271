"""A pytest plugin for suites that test asynchronous code: ``addopts = "-p cosmo_testing.pytest_plugin"``.

- A test fails if asyncio logs "Task exception was never retrieved" while it runs: an error that the code
  under test has lost. An error that is logged only when garbage is collected fails the test
  that runs then, the last one at the latest.
- Hypothesis has no deadline for an example and accepts slow strategies, since both may take long on a busy
  machine. The tables of Unicode that it computes on a fresh checkout are made before the first test.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Generator, Sequence

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st


class _Errors(logging.Handler):
    """Keeps the exceptions of tasks and futures that asyncio reports as never retrieved."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of an error, with its traceback. The record itself would keep objects alive."""
        if "exception was never retrieved" in (text := logging.Formatter().format(record)):
            self._errors.append(text)

    def taken(self) -> str:
        """Return the errors since the last call; an empty text if there are none."""
        errors, self._errors = self._errors, []
        return "\n\n".join(errors)


_errors = _Errors()


def pytest_configure() -> None:
    """Set the Hypothesis profile, and begin to listen to the errors of asyncio."""
    checks = {*settings().suppress_health_check, HealthCheck.too_slow}
    settings.register_profile("patient", settings(), deadline=None, suppress_health_check=checks)
    settings.load_profile("patient")
    logging.getLogger("asyncio").addHandler(_errors)


def pytest_unconfigure() -> None:
    """Stop listening, for programs that run pytest several times."""
    logging.getLogger("asyncio").removeHandler(_errors)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Make the tables of Unicode if a test uses Hypothesis."""
    if any(item.get_closest_marker("hypothesis") for item in items):
        find(st.text(), lambda text: True, settings=settings(database=None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Fail the test if asyncio has logged an error, up to the end of its fixtures."""
    yield
    if nextitem is None:
        gc.collect()
    if found := _errors.taken():
        message = f"the code under test lost an error, in {item.nodeid} or before"
        pytest.fail(f"{message}:\n\n{found}", pytrace=False)
