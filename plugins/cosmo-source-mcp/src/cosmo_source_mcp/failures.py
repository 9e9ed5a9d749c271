"""Everything that can go wrong with a server and its tools, as the `NeuronError` that says so."""

from __future__ import annotations

import difflib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from cosmo_llm import (
    AUTH_FAILED,
    INPUT_INVALID,
    PROVIDER_TIMEOUT,
    PROVIDER_UNREACHABLE,
    RATE_LIMITED,
)
from cosmo_source_mcp import wire_errors
from cosmo_source_mcp.codes import (
    SERVER_NOT_FOUND,
    SERVER_START_FAILED,
    TOOL_ERROR,
    TOOL_NOT_FOUND,
    failure_of,
)
from cosmo_source_mcp.limits import MAX_MESSAGE_BYTES, MAX_NAMED_TOOLS, MAX_STRAY_LINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.launch import Launch
    from cosmo_source_mcp.redaction import Secrets

_LONGEST_NAME: Final = 100
_LIMIT: Final = f"{MAX_MESSAGE_BYTES >> 20} MiB"
_WORDINGS: Final = {
    wire_errors.UNREACHABLE: "no complete answer from {server}; check that it runs",
    wire_errors.MALFORMED: "{server} sent an answer that is not understood",
    wire_errors.TOO_LARGE: f"{{server}} sent an answer larger than the {_LIMIT} that are read",
    wire_errors.NOT_MCP: f"{{server}} printed more than {MAX_STRAY_LINES} lines that are not MCP",
    wire_errors.SESSION_LOST: "{server} does not know the session any more",
}
_ADVICE: Final = {
    AUTH_FAILED: "check headers",
    RATE_LIMITED: "try again later, or send less at once",
    SERVER_NOT_FOUND: "check url: its path is often /mcp",
}


class Failures:
    """Words the failures of one server, with the secrets left out.

    Args:
        server: What messages call it.
        secrets: What must not be repeated.
        timeout_s: How long a call may take.
    """

    def __init__(self, server: str, secrets: Secrets, timeout_s: float) -> None:
        self._server = server
        self._secrets = secrets
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"<Failures of {self._server}>"

    def not_started(self, error: OSError, launch: Launch) -> NeuronError:
        """The operating system would not start the command."""
        if launch.cwd is not None and not Path(launch.cwd).is_dir():
            return SERVER_NOT_FOUND.error(f"{self._server} cannot run in {str(launch.cwd)!r}: no such folder")
        command = f"{self._server} cannot be started: {launch.command!r}"
        if isinstance(error, FileNotFoundError):
            return SERVER_NOT_FOUND.error(f"{command} is not there; {launch.advice}")
        return SERVER_START_FAILED.error(f"{command}: {error.strerror or type(error).__name__}")

    def start_failed(self, ending: str) -> NeuronError:
        """The server ended before the session began."""
        return SERVER_START_FAILED.error(_joined(f"{self._server} ended instead of answering", ending))

    def start_timed_out(self, ending: str) -> NeuronError:
        """The server did not get ready in time."""
        message = f"{self._server} was not ready within {self._timeout_s:g} s; raise timeout if it needs more"
        return PROVIDER_TIMEOUT.error(_joined(message, ending))

    def ended(self, ending: str) -> NeuronError:
        """The session ended by itself."""
        message = f"the session with {self._server} has ended, and the next call begins a new one"
        return PROVIDER_UNREACHABLE.error(_joined(message, ending))

    def closed(self) -> NeuronError:
        """The Neuron was closed while the call was running."""
        return PROVIDER_UNREACHABLE.error(f"the session with {self._server} was closed during the call")

    def timed_out(self) -> NeuronError:
        """The time limit of the call passed."""
        return PROVIDER_TIMEOUT.error(
            f"{self._server} did not answer within {self._timeout_s:g} s; raise timeout, or ask for less"
        )

    def told(self, code: int, words: str = "") -> NeuronError:
        """The server, or the transport to it, answered with a JSON-RPC error."""
        failure = failure_of(code)
        status = wire_errors.status_of(code)
        wording = _WORDINGS.get(code, "{server} answered with an error")
        message = wording.format(server=self._server)
        if status is not None:
            message = f"{self._server} answered {_status_line(status)}"
        if said := self._secrets.quote(words):
            message += f": {said}"
        advice = _ADVICE.get(failure)
        return failure.error(f"{message}; {advice}" if advice else message)

    def malformed(self, reason: Exception | str) -> NeuronError:
        """The SDK does not understand what the server sent."""
        return self.told(wire_errors.MALFORMED, _words(reason))

    def tool_failed(self, tool: str, text: str) -> NeuronError:
        """The tool ran, and its result is an error."""
        said = self._secrets.quote(text) or "no reason given"
        return TOOL_ERROR.error(f"the tool {tool!r} of {self._server} failed: {said}")

    def unknown_tool(self, tool: str, known: Sequence[str]) -> NeuronError:
        """The server has no tool of this name."""
        close = difflib.get_close_matches(tool[:_LONGEST_NAME], known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        more = f" and {len(known) - MAX_NAMED_TOOLS} more" if len(known) > MAX_NAMED_TOOLS else ""
        listed = ", ".join(sorted(known)[:MAX_NAMED_TOOLS]) or "none at all"
        return TOOL_NOT_FOUND.error(
            f"{self._server} has no tool {self._secrets.quote(tool)!r}; {hint}known: "
            f"{self._secrets.quote(listed)}{more}"
        )

    def bad_arguments(self, tool: str, reason: str) -> NeuronError:
        """The arguments do not fit the schema that the server gives for the tool."""
        return INPUT_INVALID.error(
            f"the arguments do not fit the tool {tool!r} of {self._server}: {self._secrets.quote(reason)}"
        )


def _words(reason: Exception | str) -> str:
    if isinstance(reason, ValidationError):
        # Without the input, of which pydantic would quote a part: that may be a part of a secret.
        first = reason.errors(include_url=False, include_input=False)[0]
        return f"{first['msg']} (at {'.'.join(map(str, first['loc']))})"
    return str(reason).partition("\n")[0]


def _joined(message: str, ending: str) -> str:
    return f"{message}; {ending}" if ending else message


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
