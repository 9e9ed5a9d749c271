"""The exit statuses of `cosmo`."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""The answer is an ERROR, or what was looked into has faults."""
MISTAKE: Final = 2
"""What was asked for cannot be done: the user, or somebody who runs the bus, can help it."""
ASKED_BACK: Final = 3
"""The answer is a question: CLARIFICATION or PERMISSION."""
UNEXPECTED: Final = 70
"""A bug, here or in a plugin; `EX_SOFTWARE` of sysexits.h."""
TIME_UP: Final = 124
"""As `timeout` has it."""
INTERRUPTED: Final = 130
"""As a shell has it for Ctrl-C."""
NO_READER: Final = 141
"""As a shell has it for who writes into a pipe that nobody reads."""
