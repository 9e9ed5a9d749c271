"""What the author of a context Neuron tests with; needs the extra ``cosmo-context[testing]``.

The names are resolved on first use, so that importing this package costs nothing and needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosmo_context.testing.subject import ContextNeuronUnderTest, Example
    from cosmo_context.testing.suite import ContextNeuronConformance
    from cosmo_core.testing import ConformanceError

__all__ = ["ConformanceError", "ContextNeuronConformance", "ContextNeuronUnderTest", "Example"]

_HOMES = {
    "ConformanceError": "cosmo_core.testing",
    "ContextNeuronConformance": "cosmo_context.testing.suite",
    "ContextNeuronUnderTest": "cosmo_context.testing.subject",
    "Example": "cosmo_context.testing.subject",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
