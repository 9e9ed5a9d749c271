"""The pytest class that tests a Synapse."""

from cosmo_testing.conformance.suite import Conformance
from cosmo_testing.synapses.checks import KIT
from cosmo_testing.synapses.subject import SynapseUnderTest


class SynapseConformance(Conformance, SynapseUnderTest, kit=KIT):
    """The requirements on a Synapse, one pytest test each.

    Subclass it as ``class TestMySynapse(SynapseConformance)`` and define what `SynapseUnderTest` asks for.
    A requirement that has no meaning for the Synapse gets its reason in ``not_applicable``. A requirement
    that it does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """
