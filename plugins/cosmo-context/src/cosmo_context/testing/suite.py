"""The pytest class that tests a context Neuron."""

from cosmo_context.testing.checks import KIT
from cosmo_context.testing.subject import ContextNeuronUnderTest
from cosmo_testing.conformance.suite import Conformance


class ContextNeuronConformance(Conformance, ContextNeuronUnderTest, kit=KIT):
    """The requirements on a context Neuron, one pytest test each.

    Subclass it as ``class TestMyNeuron(ContextNeuronConformance)`` and define what `ContextNeuronUnderTest`
    asks for. A requirement that has no meaning for the Neuron gets its reason in ``not_applicable``. A
    requirement that it does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """
