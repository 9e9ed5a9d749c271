"""The errors for the failures of a server and its tools."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
from pydantic import ValidationError

from cosmo_llm import Failure, Failures, Provider, failures, status_line
from cosmo_source_mcp import codes
from cosmo_source_mcp.codes import SERVER_NOT_FOUND, SERVER_START_FAILED, TOOL_ERROR, TOOL_NOT_FOUND
from cosmo_source_mcp.limits import (
    DEFAULT_START_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    MAX_NAMED_TOOLS,
    MAX_STRAY_LINES,
    MAX_TOOL_ERROR_CHARS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cosmo_core.errors import NeuronError
    from cosmo_source_mcp.targets import Launch

_LONGEST_NAME: Final = 100
_MESSAGES: Final = {
    codes.UNREACHABLE: "no complete answer from {server}; check that it runs",
    codes.MALFORMED: "{server} sent a malformed answer",
    codes.TOO_LARGE: f"{{server}} sent an answer larger than the limit of {MAX_MESSAGE_BYTES >> 20} MiB",
    codes.NOT_MCP: f"{{server}} printed more than {MAX_STRAY_LINES} lines that are not MCP",
    codes.NO_TOKEN: "{server} was not asked: the authorization failed",
    codes.SESSION_LOST: "{server} does not know the session any more",
}


class McpServer(Provider):
    """An MCP server, as the provider of the shared failures."""

    ADVICE: ClassVar[Mapping[Failure, str]] = {
        failures.AUTH_FAILED: "check headers, token or auth",
        failures.RATE_LIMITED: "try again later, or send less at once",
        SERVER_NOT_FOUND: (
            "check url: its path is often /mcp; a server with only the older transport HTTP+SSE, often at "
            "/sse, is not supported"
        ),
    }


@attrs.frozen(kw_only=True)
class McpFailures(Failures):
    """Makes the errors for the failures of one server and its tools, with its secrets redacted.

    Attributes:
        start_timeout_s: The time limit of the start of the server, in seconds.
    """

    start_timeout_s: float = DEFAULT_START_TIMEOUT_S
    provider: Provider = attrs.field(factory=McpServer)

    def not_started(self, error: OSError, launch: Launch) -> NeuronError:
        """The error for a command that the operating system did not start."""
        if launch.cwd is not None and not Path(launch.cwd).is_dir():
            return SERVER_NOT_FOUND.error(f"{self.server} cannot run in {str(launch.cwd)!r}: no such folder")
        command = f"{self.server} cannot be started: {launch.command!r}"
        if isinstance(error, FileNotFoundError):
            return SERVER_NOT_FOUND.error(f"{command} was not found; {launch.advice}")
        return SERVER_START_FAILED.error(f"{command}: {error.strerror or type(error).__name__}")

    def no_connections(self, error: Exception) -> NeuronError:
        """The error for an environment in which no connection can be made."""
        reason = self.secrets.quote(str(error)) or type(error).__name__
        return SERVER_START_FAILED.error(
            f"no connection to {self.server} can be made: {reason}; check SSL_CERT_FILE, SSL_CERT_DIR and "
            "the proxy variables, such as HTTPS_PROXY"
        )

    def start_failed(self, exit_report: str) -> NeuronError:
        """The error for a server that ended before the session was open."""
        return self.error(SERVER_START_FAILED, f"{self.server} ended instead of answering", note=exit_report)

    def start_timed_out(self, exit_report: str) -> NeuronError:
        """The error for a server that was not ready within its own time limit."""
        message = (
            f"{self.server} was not ready within {self.start_timeout_s:g} s; raise start_timeout if it needs "
            "more"
        )
        return self.error(failures.PROVIDER_TIMEOUT, message, note=exit_report)

    def still_starting(self, exit_report: str) -> NeuronError:
        """The error for a call that waited for a server to start until its time limit."""
        message = (
            f"{self.server} was not ready within {self.timeout_s:g} s; it goes on starting, and the next "
            "call waits for it"
        )
        return self.error(failures.PROVIDER_TIMEOUT, message, note=exit_report)

    def ended(self, exit_report: str) -> NeuronError:
        """The error for a session that ended during a call."""
        message = f"the session with {self.server} has ended, and the next call opens a new one"
        return self.error(failures.PROVIDER_UNREACHABLE, message, note=exit_report)

    def closed(self) -> NeuronError:
        """The error for a Neuron that was closed during a call."""
        return failures.PROVIDER_UNREACHABLE.error(
            f"the session with {self.server} was closed during the call"
        )

    def timed_out(self) -> NeuronError:
        """The error for a call that exceeded its time limit."""
        message = f"{self.server} did not answer within {self.timeout_s:g} s"
        return self.error(failures.PROVIDER_TIMEOUT, message, note="raise timeout, or ask for less")

    def answered_error(self, code: int, text: str = "") -> NeuronError:
        """The error for a JSON-RPC error, of the server or of the transport to it.

        Args:
            code: Its code.
            text: Its message, which is quoted.
        """
        status = codes.status_of_code(code)
        if status is None:
            message = _MESSAGES.get(code, "{server} answered with an error").format(server=self.server)
        else:
            message = f"{self.server} answered {status_line(status)}"
        return self.error(codes.failure_of_code(code), message, quote=text)

    def malformed(self, reason: object, body: bytes | str = "") -> NeuronError:
        """The error for an answer that the SDK cannot parse. The body is not quoted, only the reason."""
        return self.answered_error(codes.MALFORMED, _reason_text(reason))

    def tool_failed(self, tool: str, text: str) -> NeuronError:
        """The error for a tool whose result is an error; it has the text, which a model may need, in full."""
        said = self.secrets.redact(text) or "no reason given"
        said = said if len(said) <= MAX_TOOL_ERROR_CHARS else said[: MAX_TOOL_ERROR_CHARS - 1] + "…"
        return TOOL_ERROR.error(f"the tool {tool!r} of {self.server} failed: {said}")

    def unknown_tool(self, tool: str, known: Sequence[str]) -> NeuronError:
        """The error for a tool that the server does not have."""
        close = difflib.get_close_matches(tool[:_LONGEST_NAME], known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        more = f" and {len(known) - MAX_NAMED_TOOLS} more" if len(known) > MAX_NAMED_TOOLS else ""
        listed = ", ".join(sorted(known)[:MAX_NAMED_TOOLS]) or "none at all"
        return TOOL_NOT_FOUND.error(
            f"{self.server} has no tool {self.secrets.quote(tool)!r}; {hint}known: "
            f"{self.secrets.quote(listed)}{more}"
        )

    def bad_arguments(self, tool: str, reason: str) -> NeuronError:
        """The error for arguments that do not match the tool's schema."""
        return failures.INPUT_INVALID.error(
            f"the arguments do not match the schema of the tool {tool!r} of {self.server}: "
            f"{self.secrets.quote(reason)}"
        )


def _reason_text(reason: Any) -> str:
    if isinstance(reason, ValidationError):
        # Without the input: pydantic would quote a part of it, and that could be a part of a secret.
        first = reason.errors(include_url=False, include_input=False)[0]
        return f"{first['msg']} (at {'.'.join(map(str, first['loc']))})"
    return str(reason).partition("\n")[0]
