"""Every bound of this source, on one screen."""

from __future__ import annotations

from typing import Final

DEFAULT_TIMEOUT_S: Final = 60.0
"""How long one call may take, the start of the server included."""

MAX_MESSAGE_BYTES: Final = 16 << 20
"""The largest message that is read from a server: a line of its stdout, a body, or an event."""
MAX_REFUSAL_BYTES: Final = 64 << 10
"""How much of the body is read that comes with an HTTP status of refusal."""
MAX_STRAY_LINES: Final = 100
"""How many lines in a row a server may print that are not MCP; one more, and it is no MCP server."""
MAX_TOOL_PAGES: Final = 100
"""How many pages of a server's list of tools are read."""
MAX_NAMED_TOOLS: Final = 20
"""How many of the known tools an error names."""
MAX_CONNECTIONS: Final = 100
"""How many HTTP requests of one session are on the wire at once; further ones wait for their turn."""
MAX_IDLE_CONNECTIONS: Final = 20
"""How many connections are kept open between requests: every request looks at all of them."""
IDLE_CONNECTION_S: Final = 3.0
"""For how long they are: many servers close theirs after 5 s, and a request just then would be lost."""

STDERR_TAIL_BYTES: Final = 8 << 10
"""How much of what a server wrote to its stderr is kept, to tell why it ended."""

GRACE_S: Final = 2.0
"""How long a server is given to end after its stdin was closed, and once more after SIGTERM."""
LAST_WORDS_S: Final = 1.0
"""How long a call whose server died waits to learn why."""
GOODBYE_S: Final = 2.0
"""How long the end of an HTTP session may take to be told to its server."""
