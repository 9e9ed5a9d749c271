"""The pytest class that tests a source."""

from cosmo_testing.conformance.suite import Conformance
from cosmo_testing.sources.checks import KIT
from cosmo_testing.sources.subject import SourceUnderTest


class SourceConformance(Conformance, SourceUnderTest, kit=KIT):
    """The requirements on a source, one pytest test each.

    Subclass it as ``class TestMySource(SourceConformance)`` and define what `SourceUnderTest` asks for.
    A requirement that has no meaning for the source gets its reason in ``not_applicable``. A requirement that
    it does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """
