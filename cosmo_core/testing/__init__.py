"""What a plugin author tests with; needs the extra ``cosmo-core[testing]``.

The names are resolved on first use, so that importing this package costs nothing and needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_core.testing.lazy import lazy_names

if TYPE_CHECKING:
    from cosmo_core.testing._messages import (
        ReceivedRequest,
        RefusedError,
        Response,
        event_response,
        json_response,
    )
    from cosmo_core.testing.chat_server import ChatServer
    from cosmo_core.testing.clock import FakeClock
    from cosmo_core.testing.conformance.errors import ConformanceError
    from cosmo_core.testing.engrams.subject import EngramUnderTest
    from cosmo_core.testing.engrams.suite import EngramConformance
    from cosmo_core.testing.faults import Fault
    from cosmo_core.testing.proxy import TcpProxy
    from cosmo_core.testing.sources.http import chat_answers
    from cosmo_core.testing.sources.scenario import Scenario
    from cosmo_core.testing.sources.server import ProviderServer
    from cosmo_core.testing.sources.subject import SourceUnderTest
    from cosmo_core.testing.sources.suite import SourceConformance
    from cosmo_core.testing.sources.transport import provider_transport
    from cosmo_core.testing.synapses.subject import SynapseUnderTest
    from cosmo_core.testing.synapses.suite import SynapseConformance
    from cosmo_core.testing.traces import InvalidTraceError, assert_valid_trace
    from cosmo_core.testing.virtual_time import VirtualTimeLoop

__all__ = [
    "ChatServer",
    "ConformanceError",
    "EngramConformance",
    "EngramUnderTest",
    "FakeClock",
    "Fault",
    "InvalidTraceError",
    "ProviderServer",
    "ReceivedRequest",
    "RefusedError",
    "Response",
    "Scenario",
    "SourceConformance",
    "SourceUnderTest",
    "SynapseConformance",
    "SynapseUnderTest",
    "TcpProxy",
    "VirtualTimeLoop",
    "assert_valid_trace",
    "chat_answers",
    "event_response",
    "json_response",
    "provider_transport",
]

_HOMES = {
    "ChatServer": "cosmo_core.testing.chat_server",
    "ConformanceError": "cosmo_core.testing.conformance.errors",
    "EngramConformance": "cosmo_core.testing.engrams.suite",
    "EngramUnderTest": "cosmo_core.testing.engrams.subject",
    "FakeClock": "cosmo_core.testing.clock",
    "Fault": "cosmo_core.testing.faults",
    "InvalidTraceError": "cosmo_core.testing.traces",
    "ProviderServer": "cosmo_core.testing.sources.server",
    "ReceivedRequest": "cosmo_core.testing._messages",
    "RefusedError": "cosmo_core.testing._messages",
    "Response": "cosmo_core.testing._messages",
    "Scenario": "cosmo_core.testing.sources.scenario",
    "SourceConformance": "cosmo_core.testing.sources.suite",
    "SourceUnderTest": "cosmo_core.testing.sources.subject",
    "SynapseConformance": "cosmo_core.testing.synapses.suite",
    "SynapseUnderTest": "cosmo_core.testing.synapses.subject",
    "TcpProxy": "cosmo_core.testing.proxy",
    "VirtualTimeLoop": "cosmo_core.testing.virtual_time",
    "assert_valid_trace": "cosmo_core.testing.traces",
    "chat_answers": "cosmo_core.testing.sources.http",
    "event_response": "cosmo_core.testing._messages",
    "json_response": "cosmo_core.testing._messages",
    "provider_transport": "cosmo_core.testing.sources.transport",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
