"""The conformance kit for context Neurons; it needs ``cosmo-context[testing]``."""

from cosmo_context.testing.subject import ContextNeuronUnderTest, Example
from cosmo_context.testing.suite import ContextNeuronConformance
from cosmo_testing.conformance.kit import ConformanceError

__all__ = ["ConformanceError", "ContextNeuronConformance", "ContextNeuronUnderTest", "Example"]
