"""The bearer token of HTTP requests: a string, or a function that returns it for each request."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from cosmo_core.errors import NeuronError
from cosmo_llm import AUTH_FAILED, Secrets
from cosmo_llm.options import hidden_value

_TOKEN: Final = re.compile(r"[!-~]+")


class BearerSecrets(Secrets):
    """Secrets to which the last tokens of a function belong."""

    def __init__(self, values: Iterable[str], shortest: int) -> None:
        super().__init__(values, shortest=shortest, parts=True)
        self._fixed = list(values)
        self._shortest = shortest
        self._last: list[str] = []

    def add(self, token: str) -> None:
        """Add a token. The one before it stays secret, because running requests have it."""
        if token not in self:
            self._last = [*self._last[-1:], token]
            super().__init__([*self._fixed, *self._last], shortest=self._shortest, parts=True)


class TokenSource:
    """Returns the token for a request.

    Args:
        token: The token, or a function that returns it. An async function runs in the event loop, another one
            in a thread.
    """

    def __init__(self, token: str | Callable[[], Any]) -> None:
        self._token = token
        self._secrets: BearerSecrets | None = None

    @classmethod
    def parse(cls, name: str, value: object) -> Self:
        """Make one of what the user gave; an error does not repeat it.

        Raises:
            ValueError: It is neither a token of printable ASCII characters nor a function.
        """
        if not (callable(value) or (isinstance(value, str) and _TOKEN.fullmatch(value))):
            raise hidden_value(name, value, "a token of printable ASCII characters, or a function of none,")
        return cls(value)

    def secrets(self, values: Iterable[str], shortest: int) -> Secrets:
        """The secrets of the options, with the tokens that this object returns from now on."""
        self._secrets = BearerSecrets(list(values), shortest)
        if isinstance(self._token, str):
            self._secrets.add(self._token)
        return self._secrets

    async def header(self) -> str:
        """The value of the ``Authorization`` header for the next request.

        Raises:
            NeuronError: With code ``AUTH_FAILED``: the function raised, or did not return a token.
        """
        token = self._token if isinstance(self._token, str) else await self._returned(self._token)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise AUTH_FAILED.error(
                "the function given as token did not return a string of printable ASCII characters, but a "
                f"{type(token).__name__}"
            )
        if self._secrets is not None:
            self._secrets.add(token)
        return f"Bearer {token}"

    async def _returned(self, function: Callable[[], Any]) -> object:
        try:
            if inspect.iscoroutinefunction(function):
                return await function()
            returned = await asyncio.to_thread(function)
            return await returned if inspect.isawaitable(returned) else returned
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - it is a function of the user
            failure = self._failed(error)
        raise failure

    @staticmethod
    def _failed(error: BaseException) -> NeuronError:
        # Without its text, which may hold the token.
        return AUTH_FAILED.error(f"the function given as token raised {type(error).__name__}")
