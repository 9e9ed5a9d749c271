"""The pytest class that tests an Engram."""

from cosmo_testing.conformance.suite import Conformance
from cosmo_testing.engrams.checks import KIT
from cosmo_testing.engrams.subject import EngramUnderTest


class EngramConformance(Conformance, EngramUnderTest, kit=KIT):
    """The requirements on an Engram, one pytest test each.

    Subclass it as ``class TestMyEngram(EngramConformance)`` and define what `EngramUnderTest` asks for.
    A requirement that has no meaning for the Engram gets its reason in ``not_applicable``. A requirement that
    it does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """
