"""Every requirement on a source, in `KIT`. Each module defines some, with their checks.

A check takes a `SourceUnderTest`, and the name of a fault if it depends on one: ``await
check_cancel_prompt(subject)`` raises a `ConformanceError` if the subject does not meet
``source:cancel-prompt``.
"""

from typing import Final

from cosmo_testing.conformance.kit import Kit
from cosmo_testing.sources.checks import conduct, contract, failures

KIT: Final = Kit(contract, conduct, failures)
"""The requirements on a source."""
