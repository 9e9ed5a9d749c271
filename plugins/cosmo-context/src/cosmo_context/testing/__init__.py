"""What the author of a context Neuron tests with; needs the extra ``cosmo-context[testing]``.

The names are resolved on first use, so that importing this package costs nothing and needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing.lazy import lazy_names

if TYPE_CHECKING:
    from cosmo_context.testing.subject import ContextNeuronUnderTest, Example
    from cosmo_context.testing.suite import ContextNeuronConformance
    from cosmo_testing import ConformanceError

__all__ = ["ConformanceError", "ContextNeuronConformance", "ContextNeuronUnderTest", "Example"]

_HOMES = {
    "ConformanceError": "cosmo_testing",
    "ContextNeuronConformance": "cosmo_context.testing.suite",
    "ContextNeuronUnderTest": "cosmo_context.testing.subject",
    "Example": "cosmo_context.testing.subject",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
