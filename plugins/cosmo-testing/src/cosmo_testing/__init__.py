"""What a plugin author tests with; needs the extra ``cosmo-core[testing]``.

The names are resolved on first use, so that importing this package costs nothing and needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing.lazy import lazy_names

if TYPE_CHECKING:
    from cosmo_testing._messages import (
        ReceivedRequest,
        RefusedError,
        Response,
        event_response,
        json_response,
    )
    from cosmo_testing.chat_server import ChatServer
    from cosmo_testing.clock import FakeClock
    from cosmo_testing.conformance.errors import ConformanceError
    from cosmo_testing.engrams.subject import EngramUnderTest
    from cosmo_testing.engrams.suite import EngramConformance
    from cosmo_testing.faults import Fault
    from cosmo_testing.proxy import TcpProxy
    from cosmo_testing.sources.http import chat_answers
    from cosmo_testing.sources.scenario import Scenario
    from cosmo_testing.sources.server import ProviderServer
    from cosmo_testing.sources.subject import SourceUnderTest
    from cosmo_testing.sources.suite import SourceConformance
    from cosmo_testing.sources.transport import provider_transport
    from cosmo_testing.synapses.subject import SynapseUnderTest
    from cosmo_testing.synapses.suite import SynapseConformance
    from cosmo_testing.traces import InvalidTraceError, assert_valid_trace
    from cosmo_testing.virtual_time import VirtualTimeLoop

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
    "ChatServer": "cosmo_testing.chat_server",
    "ConformanceError": "cosmo_testing.conformance.errors",
    "EngramConformance": "cosmo_testing.engrams.suite",
    "EngramUnderTest": "cosmo_testing.engrams.subject",
    "FakeClock": "cosmo_testing.clock",
    "Fault": "cosmo_testing.faults",
    "InvalidTraceError": "cosmo_testing.traces",
    "ProviderServer": "cosmo_testing.sources.server",
    "ReceivedRequest": "cosmo_testing._messages",
    "RefusedError": "cosmo_testing._messages",
    "Response": "cosmo_testing._messages",
    "Scenario": "cosmo_testing.sources.scenario",
    "SourceConformance": "cosmo_testing.sources.suite",
    "SourceUnderTest": "cosmo_testing.sources.subject",
    "SynapseConformance": "cosmo_testing.synapses.suite",
    "SynapseUnderTest": "cosmo_testing.synapses.subject",
    "TcpProxy": "cosmo_testing.proxy",
    "VirtualTimeLoop": "cosmo_testing.virtual_time",
    "assert_valid_trace": "cosmo_testing.traces",
    "chat_answers": "cosmo_testing.sources.http",
    "event_response": "cosmo_testing._messages",
    "json_response": "cosmo_testing._messages",
    "provider_transport": "cosmo_testing.sources.transport",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
