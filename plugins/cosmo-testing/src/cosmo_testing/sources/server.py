"""A provider behind a real socket, for sources of any HTTP client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_testing._routes import refuse
from cosmo_testing._server import LoopbackServer
from cosmo_testing.sources.http import every_request, recorded_fault

if TYPE_CHECKING:
    from cosmo_testing._messages import ReceivedRequest
    from cosmo_testing.faults import Fault
    from cosmo_testing.sources.http import Answer, IsCall
    from cosmo_testing.sources.scenario import Scenario


class ProviderServer(LoopbackServer):
    """Serves HTTP on 127.0.0.1 as a scenario says: ``async with ProviderServer(scenario, answer) as server``.

    Args:
        scenario: What the provider is to do.
        answer: What it answers while nothing is wrong; may raise `RefusedError`.
        is_call: Which requests the scenario is about. All others are answered.
    """

    def __init__(self, scenario: Scenario, answer: Answer, *, is_call: IsCall = every_request) -> None:
        super().__init__(answer, refuse=refuse)
        self._scenario = scenario
        self._is_call = is_call

    async def _record(self, request: ReceivedRequest) -> tuple[int, Fault]:
        serial, fault = await super()._record(request)
        if not self._is_call(request):
            return serial, fault
        await self._scenario.reached()
        return serial, recorded_fault(self._scenario)
