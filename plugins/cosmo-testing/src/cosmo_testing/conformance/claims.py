"""What those under test say of themselves, asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# Those of one class all promise the same; asking them may start a server.
_answers: dict[type, Any] = {}


def asked_once(kind: type, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what ``ask`` returns, which is run once for each class."""
    if kind not in _answers:
        # In a thread: whoever asks may be inside a running event loop.
        with ThreadPoolExecutor(1) as thread:
            _answers[kind] = thread.submit(asyncio.run, ask()).result()
    answer: T = _answers[kind]
    return answer
