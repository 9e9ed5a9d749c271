"""Tools for tests of Neurons and plugins: conformance kits, fake providers, a proxy, clocks and strategies.

Names are imported on first use: pytest, Hypothesis and httpx take most of a second, and most programs that
import this package, such as ``python -m cosmo_testing.chat_server`` and ``cosmo validate``, need none of
them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosmo_testing.chat_server.faults import Fault as Fault
    from cosmo_testing.chat_server.messages import ReceivedRequest as ReceivedRequest
    from cosmo_testing.chat_server.messages import RefusedError as RefusedError
    from cosmo_testing.chat_server.messages import Response as Response
    from cosmo_testing.chat_server.messages import event_response as event_response
    from cosmo_testing.chat_server.messages import json_response as json_response
    from cosmo_testing.chat_server.server import ChatServer as ChatServer
    from cosmo_testing.clock import FakeClock as FakeClock
    from cosmo_testing.clock import VirtualTimeLoop as VirtualTimeLoop
    from cosmo_testing.conformance.kit import ConformanceError as ConformanceError
    from cosmo_testing.engrams.subject import EngramUnderTest as EngramUnderTest
    from cosmo_testing.engrams.suite import EngramConformance as EngramConformance
    from cosmo_testing.proxy import TcpProxy as TcpProxy
    from cosmo_testing.sources.provider import ProviderServer as ProviderServer
    from cosmo_testing.sources.provider import Scenario as Scenario
    from cosmo_testing.sources.provider import chat_answers as chat_answers
    from cosmo_testing.sources.provider import provider_transport as provider_transport
    from cosmo_testing.sources.subject import SourceUnderTest as SourceUnderTest
    from cosmo_testing.sources.suite import SourceConformance as SourceConformance
    from cosmo_testing.synapses.subject import SynapseUnderTest as SynapseUnderTest
    from cosmo_testing.synapses.suite import SynapseConformance as SynapseConformance
    from cosmo_testing.traces import InvalidTraceError as InvalidTraceError
    from cosmo_testing.traces import assert_valid_trace as assert_valid_trace

_MODULES = {
    "ChatServer": "chat_server.server",
    "ConformanceError": "conformance.kit",
    "EngramConformance": "engrams.suite",
    "EngramUnderTest": "engrams.subject",
    "FakeClock": "clock",
    "Fault": "chat_server.faults",
    "InvalidTraceError": "traces",
    "ProviderServer": "sources.provider",
    "ReceivedRequest": "chat_server.messages",
    "RefusedError": "chat_server.messages",
    "Response": "chat_server.messages",
    "Scenario": "sources.provider",
    "SourceConformance": "sources.suite",
    "SourceUnderTest": "sources.subject",
    "SynapseConformance": "synapses.suite",
    "SynapseUnderTest": "synapses.subject",
    "TcpProxy": "proxy",
    "VirtualTimeLoop": "clock",
    "assert_valid_trace": "traces",
    "chat_answers": "sources.provider",
    "event_response": "chat_server.messages",
    "json_response": "chat_server.messages",
    "provider_transport": "sources.provider",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
