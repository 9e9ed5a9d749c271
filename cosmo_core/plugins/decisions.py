"""Asking a decision hook until a plugin answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cosmo_core.errors import HookError
from cosmo_core.plugins.shapes import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_core.plugins.hooks import Implementation

_log = logging.getLogger("cosmo_core.plugins")


def first_answer(implementations: Sequence[Implementation], arguments: Mapping[str, Any]) -> ErrorInfo | None:
    """Give the first answer that is not None; a plugin that fails is logged and passed over."""
    for implementation in implementations:
        try:
            answer = _ask(implementation, arguments)
        except Exception:  # noqa: BLE001 - a plugin's fault must not hide the error that it was asked about
            _log.warning("%s is passed over", implementation.owner, exc_info=True)
        else:
            if answer is not None:
                return answer
    return None


def _ask(implementation: Implementation, arguments: Mapping[str, Any]) -> ErrorInfo | None:
    answer = implementation(**arguments)
    if answer is None or isinstance(answer, ErrorInfo):
        return answer
    raise HookError(f"{implementation.hook} must return an ErrorInfo or None; got {type(answer).__name__}")
