from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cosmo_core.plugins import ErrorInfo, PluginManager, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from cosmo_core.protocol.signal import Signal

LIMITED = ErrorInfo("RATE_LIMITED", "try again in a minute", recoverable=True)
OTHER = ErrorInfo("OTHER", "something else", recoverable=False)


class Answering:
    def __init__(self, answer: Callable[[Exception, object], object]) -> None:
        self.answer = answer

    @hookimpl
    def cosmo_error_info(self, error: Exception, task: Signal) -> object:
        return self.answer(error, task)


def _manager(*answers: Callable[[Exception, object], object]) -> PluginManager:
    manager = PluginManager(environ={})
    for place, answer in enumerate(answers):
        manager.register(Answering(answer), name=f"plugin-{place}")
    return manager


def _never(error: Exception, task: object) -> object:
    raise AssertionError("asked after another plugin had answered")


def test_cosmo_error_info_gets_the_error_and_the_task(task: Signal) -> None:
    asked: list[tuple[object, object]] = []
    error = ValueError("x")
    assert _manager(lambda error, task: asked.append((error, task))).error_info(error, task) is None
    assert asked == [(error, task)]


def test_first_answer_that_is_not_none_wins_and_ends_the_calls(
    task: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    manager = _manager(lambda *_: None, lambda *_: LIMITED, _never)
    assert manager.error_info(ValueError("x"), task) == LIMITED
    assert caplog.records == []


def test_without_plugins_there_is_no_answer(task: Signal) -> None:
    assert PluginManager(environ={}).error_info(ValueError("x"), task) is None


def _raises(error: Exception, task: object) -> object:
    raise OSError("no table of codes")


@pytest.mark.parametrize(
    ("faulty", "logged"),
    [
        (_raises, "no table of codes"),
        (lambda *_: "RATE_LIMITED", "cosmo_error_info must return an ErrorInfo or None; got str"),
    ],
)
def test_failing_plugin_is_logged_and_skipped(
    task: Signal, caplog: pytest.LogCaptureFixture, faulty: Callable[..., object], logged: str
) -> None:
    assert _manager(faulty, lambda *_: OTHER).error_info(ValueError("x"), task) == OTHER
    [record] = caplog.records
    assert record.getMessage() == "plugin plugin-0 of this program is skipped"
    assert logged in caplog.text


@pytest.mark.parametrize(
    ("code", "message", "recoverable"),
    [("", "m", True), ("lower", "m", True), (None, "m", True), ("CODE", None, True), ("CODE", "m", 1)],
)
def test_error_info_validates_its_fields(code: Any, message: Any, recoverable: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ErrorInfo(code, message, recoverable)
