"""All limits of this source."""

from __future__ import annotations

from typing import Final

DEFAULT_TIMEOUT_S: Final = 60.0
"""The time limit of one call, including the start of the server, in seconds."""

MAX_MESSAGE_BYTES: Final = 16 << 20
"""The size limit of a message from a server: a line of its stdout, a body, or an event."""
MAX_REFUSAL_BYTES: Final = 64 << 10
"""How much of the body of an HTTP error response is read."""
MAX_STRAY_LINES: Final = 100
"""How many lines in a row on a server's stdout may not be MCP; one more ends the server."""
MAX_TOOL_PAGES: Final = 100
"""How many pages of a server's list of tools are read."""
MAX_NAMED_TOOLS: Final = 20
"""How many of the known tools an error names."""
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
