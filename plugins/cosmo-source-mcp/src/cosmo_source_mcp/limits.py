"""All limits of this source."""

from __future__ import annotations

from typing import Final

DEFAULT_TIMEOUT_S: Final = 60.0
"""The time limit of one call, including its wait for the start of the server, in seconds."""
DEFAULT_START_TIMEOUT_S: Final = 300.0
"""The time limit of the start of a server, in seconds. It may download itself first."""

MAX_MESSAGE_BYTES: Final = 16 << 20
"""The size limit of a message from a server: a line of its stdout, a body, or an event."""
MAX_AUTH_BYTES: Final = 1 << 20
"""The size limit of a response to a request of OAuth."""
SLICE_BYTES: Final = 4 << 10
"""How many bytes of a compressed body are decompressed at once: to 4 MiB at most."""
MAX_REFUSAL_BYTES: Final = 64 << 10
"""How much of the body of an HTTP error response is read."""
MAX_STRAY_LINES: Final = 100
"""How many lines in a row on a server's stdout may not be MCP; one more ends the server."""
MAX_PAGES: Final = 100
"""How many pages of a server's list, such as that of its tools, are read."""
MAX_LISTED: Final = 10_000
"""How many entries a server's list may have."""
MAX_TOOL_ERROR_CHARS: Final = 100_000
"""How many characters of a failed tool's text and structured content an error has."""
MAX_INPUT_ROUNDS: Final = 10
"""How often a server may ask for input during one call."""
MAX_WAITING_CALLS: Final = 100
"""How many calls wait at their servers for the answer to a question; for a further one, the oldest ends."""
ANSWER_WAIT_S: Final = 600.0
"""How long a call waits at its server for the answer to a question, in seconds."""
INPUT_PAUSE_S: Final = 0.25
"""The pause before a call is sent again, if the server asks only for that, in seconds."""
LOG_LEVEL: Final = "info"
"""The least level of the log messages that a server is asked for."""
MAX_WAITING_NOTES: Final = 256
"""How many notes of a server wait to be sent as THOUGHT_DELTAs; a further one replaces the oldest."""
MAX_NOTE_CHARS: Final = 2_000
"""How many characters of a note of a server are sent."""
MAX_NAMED_TOOLS: Final = 20
"""How many of the known tools an error names."""
MAX_SCHEMA_STEPS: Final = 20_000
"""How many steps one check against a schema of a server may take; the rest is left to the server."""
MAX_SCHEMA_DEPTH: Final = 64
"""How deep one check against a schema follows values and references; the rest is left to the server."""
MAX_CONNECTIONS: Final = 100
"""How many HTTP requests of one session run at once; further ones wait."""
MAX_IDLE_CONNECTIONS: Final = 20
"""How many connections stay open between requests. Every request looks at all of them."""
IDLE_CONNECTION_S: Final = 3.0
"""How long an idle connection stays open, in seconds. Many servers close theirs after 5 s, which would lose a
request that is sent at that moment."""

STDERR_TAIL_BYTES: Final = 8 << 10
"""How much of the end of a server's stderr is kept, to report why the server ended."""

GRACE_S: Final = 2.0
"""How long a server may take to end after its stdin was closed, and again after SIGTERM, in seconds."""
EXIT_REPORT_WAIT_S: Final = 1.0
"""How long a call whose server ended waits for the exit report, in seconds."""
SESSION_DELETE_S: Final = 2.0
"""How long the DELETE request that ends an HTTP session may take, in seconds."""
