"""One subscription of a memory Synapse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmo_core.routing import Member
from cosmo_core.routing.handlers import HandlerRunner

if TYPE_CHECKING:
    from cosmo_core.contracts.delivery import FrameHandler
    from cosmo_core.routing import Router


class MemorySubscription:
    """Delivers to one handler. A handler that is done at once costs a call."""

    def __init__(
        self,
        router: Router,
        home: set[MemorySubscription],
        pattern: str,
        handler: FrameHandler,
        *,
        queue_group: str | None,
        max_in_flight: int,
        max_pending: int,
    ) -> None:
        self._router = router
        self._home = home
        self._runner = HandlerRunner(pattern, handler, self._done)
        self._member = Member(
            pattern, self._runner.run, queue_group=queue_group, credit=max_in_flight, max_pending=max_pending
        )
        router.add(self._member)
        home.add(self)

    @property
    def dropped(self) -> int:
        """How many frames were given up because the handler was too slow."""
        return self._member.dropped

    def _done(self, number: int, error: BaseException | None) -> None:
        if not number:
            self._member.finish()
        elif error is None:
            self._router.settle(self._member, number)
        else:
            self._router.fail(self._member, number, repr(error))

    async def unsubscribe(self) -> None:
        """Deliver nothing more. What the handler works on goes on; doing it twice is not an error."""
        self._home.discard(self)
        self._router.remove(self._member)

    async def close(self) -> None:
        """Unsubscribe, and cancel what the handler still works on."""
        await self.unsubscribe()
        await self._runner.close()
