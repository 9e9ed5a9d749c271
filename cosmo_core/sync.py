"""The synchronous door for scripts and notebooks: a Dendrite whose event loop runs in a thread of its own.

``with cosmo_core.sync.open("memory://", shout) as bus: bus.ask("shout", {…})``. It works inside of a running
event loop, as in Jupyter, and without one.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, Self, TypeVar, Unpack, overload

from cosmo_core.contracts.asking import Target, TypedAxon
from cosmo_core.contracts.axon import Axon
from cosmo_core.contracts.neuron import AnyNeuronFn
from cosmo_core.contracts.options import AskOptions, MapOptions, StreamOptions
from cosmo_core.contracts.threads import BlockingStream, Works, run_in_loop
from cosmo_core.dendrite.dendrite import Dendrite, DendriteOptions
from cosmo_core.errors import LifecycleError

T = TypeVar("T")

CANCEL_S: Final = 1.0
"""Seconds that tasks have to end when the bus is closed; those that ignore it are abandoned."""


class Bus:
    """A connection to a bus, for code without ``async``; `open` makes one.

    Use it as ``with``, or `close` it; the end of the program closes it, too. Every method may be called from
    any thread, except that of its event loop. Ctrl-C during a call stops the TASK.

    Attributes:
        dendrite: The Dendrite. Its methods belong into the event loop: `run` calls them there.
    """

    dendrite: Dendrite

    def __init__(self, url: str, neurons: Iterable[Axon | AnyNeuronFn], options: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended: BaseException | None = None
        self._close = asyncio.Event()
        self._works = Works()
        opened: concurrent.futures.Future[Dendrite] = concurrent.futures.Future()
        self._main = self._loop.create_task(self._host(url, neurons, options, opened))
        self._thread = threading.Thread(target=self._serve, args=[opened], name="cosmo-sync", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        try:
            self.dendrite = opened.result()
        except BaseException:
            # It could not be opened, or the thread was interrupted meanwhile.
            self._end(self._main.cancel)
            raise

    async def _host(
        self,
        url: str,
        neurons: Iterable[Axon | AnyNeuronFn],
        options: dict[str, Any],
        opened: concurrent.futures.Future[Dendrite],
    ) -> None:
        try:
            async with Dendrite.open(url, *neurons, **options) as dendrite:
                opened.set_result(dendrite)
                await self._close.wait()
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    def _serve(self, opened: concurrent.futures.Future[Dendrite]) -> None:
        while not self._main.done():
            try:
                self._loop.run_until_complete(self._main)
            except (SystemExit, KeyboardInterrupt) as error:
                # A Neuron ends the program: `run` raises it in the thread that waits.
                self._ended = error
                self._close.set()
                if not opened.done():
                    self._main.cancel()
            except BaseException as error:  # noqa: BLE001 - raised by `close`
                self._ended = self._ended or error
        # What threads still wait for ends with the bus, also what they asked for a moment ago.
        self._loop.run_until_complete(_cancel_others())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._works.cancel()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop of the Dendrite, and return its result.

        Raises:
            LifecycleError: The bus is closed, or was closed meanwhile; in a forked process, it was opened by
                the parent.
            RuntimeError: The caller is in that event loop.
        """
        if self._main.done() or not self._thread.is_alive():
            work.close()
            raise self._closed_error()
        try:
            return run_in_loop(work, self._loop, self._works)
        except (concurrent.futures.CancelledError, RuntimeError):
            if not self._main.done():
                raise
            # It was never begun, or has ended.
            work.close()
            raise self._closed_error() from None
        finally:
            if self._ended is not None:
                self.close()

    def _closed_error(self) -> LifecycleError:
        where = "is closed" if self._main.done() else "was opened before this process was forked"
        return LifecycleError(f"this bus {where}: open it again with cosmo_core.sync.open(url)")

    def close(self) -> None:
        """Stop the Dendrite, as `Dendrite.stop` does, and close the Synapse. Closing it again has no effect.

        A Neuron that is not a plain function may close its own bus, and is not waited for.

        Raises:
            SystemExit: A Neuron raised it; so does it raise KeyboardInterrupt.
        """
        self._end(self._close.set)

    def _end(self, how: Callable[[], object]) -> None:
        atexit.unregister(self.close)
        # The event loop may end by itself, between a check and the call.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(how)
        if threading.current_thread() is self._thread:
            return
        self._thread.join()
        ended, self._ended = self._ended, None
        if ended is not None and not isinstance(ended, asyncio.CancelledError):
            raise ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the short form -----------------------------------------------------------------------------

    @overload
    def ask(
        self, neuron: Target, input: object, *, output_type: type[T], **options: Unpack[AskOptions]
    ) -> T: ...

    @overload
    def ask(
        self, neuron: TypedAxon[T], input: object, *, output_type: None = None, **options: Unpack[AskOptions]
    ) -> T: ...

    @overload
    def ask(
        self, neuron: str | None, input: object, *, output_type: Any = None, **options: Unpack[AskOptions]
    ) -> Any: ...

    def ask(
        self, neuron: Target, input: object, *, output_type: Any = None, **options: Unpack[AskOptions]
    ) -> Any:
        """Send a TASK and return the output; see `AskFn`."""
        ask: Any = self.dendrite.ask
        return self.run(ask(neuron, input, output_type=output_type, **options))

    def stream(
        self, neuron: Target, input: object, *, output_type: Any = None, **options: Unpack[StreamOptions]
    ) -> BlockingStream:
        """Send a TASK and iterate over the texts of its answer; see `StreamFn`."""
        return BlockingStream(
            self.dendrite.stream(neuron, input, output_type=output_type, **options), self.run
        )

    def map(self, neuron: Target, inputs: Iterable[object], **options: Unpack[MapOptions]) -> list[Any]:
        """Send a TASK for each input and return the outputs; see `MapFn` and `MapOptions`."""
        map: Any = self.dendrite.map
        return self.run(map(neuron, inputs, **options))

    def race(
        self,
        neurons: Iterable[str | Axon],
        input: object,
        *,
        output_type: Any = None,
        **options: Unpack[AskOptions],
    ) -> Any:
        """Send one input to several Neurons and return the first output; see `RaceFn`."""
        return self.run(self.dendrite.race(neurons, input, output_type=output_type, **options))


def open(
    url: str,
    *neurons: Axon | AnyNeuronFn,
    wait_for: Iterable[str] = (),
    timeout_s: float | None = 30.0,
    **options: Unpack[DendriteOptions],
) -> Bus:
    """Connect to a bus and host Neurons on it; arguments and errors are those of `Dendrite.open`.

    The Neurons run in the thread of the event loop, and plain functions in threads of their own.
    """
    return Bus(url, neurons, {"wait_for": wait_for, "timeout_s": timeout_s, **options})


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCEL_S)
