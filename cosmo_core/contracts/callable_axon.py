"""The decorator ``@neuron``: makes an Axon of a function, which can still be called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from cosmo_core.arguments import check_options
from cosmo_core.contracts.axon import Axon, ContextFetcher
from cosmo_core.contracts.engram import EngramBinding
from cosmo_core.contracts.neuron import AnyNeuronFn

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)

AsyncNeuron = Callable[P, Coroutine[Any, Any, T]]
StreamingNeuron = Callable[P, AsyncIterator[T]]


class AxonOptions(TypedDict, total=False):
    """The options of `neuron`, as in `Axon`."""

    capabilities: Iterable[str]
    version: str | None
    description: str | None
    input_type: Any
    output_type: Any
    context_fetcher: ContextFetcher | None
    engrams: Iterable[EngramBinding]
    max_concurrency: int
    max_backlog: int


class CallableAxon(Axon, Generic[P, R_co, O_co]):
    """An Axon that can be called as its function, and whose output is an ``O_co``; `neuron` makes it."""

    def __init__(self, function: Callable[P, R_co], id: str | None, options: AxonOptions) -> None:
        name = getattr(function, "__name__", None) if id is None else id
        if isinstance(function, Axon):
            raise TypeError(f"@neuron makes an Axon of a function, and {function!r} is one already")
        if not callable(function):
            raise TypeError(f"a Neuron is a function or an Axon, not {function!r}; pass several one by one")
        if name is None or name == "<lambda>":
            raise TypeError(f"{function!r} has no name that could be its id: neuron(id=…)(function) sets one")
        check_options("@neuron", options, AxonOptions.__annotations__)
        super().__init__(neuron_id=name, neuron_fn=cast("AnyNeuronFn", function), **options)
        self._function = function
        update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself, without a bus."""
        return self._function(*args, **kwargs)


StreamingAxon = CallableAxon[P, AsyncIterator[T], dict[str, Any]]


class NeuronDecorator(Protocol):
    """Makes an Axon of a function: what `neuron` with options returns."""

    # The output of an async function is what it returns, and that of an async generator an object.

    @overload
    def __call__(self, function: AsyncNeuron[P, T], /) -> CallableAxon[P, Coroutine[Any, Any, T], T]: ...

    @overload
    def __call__(self, function: StreamingNeuron[P, T], /) -> StreamingAxon[P, T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> CallableAxon[P, T, T]: ...


@overload
def neuron(function: AsyncNeuron[P, T], /) -> CallableAxon[P, Coroutine[Any, Any, T], T]: ...


@overload
def neuron(function: StreamingNeuron[P, T], /) -> StreamingAxon[P, T]: ...


@overload
def neuron(function: Callable[P, T], /) -> CallableAxon[P, T, T]: ...


@overload
def neuron(*, id: str | None = None, **options: Unpack[AxonOptions]) -> NeuronDecorator: ...


def neuron(function: Any = None, /, *, id: str | None = None, **options: Unpack[AxonOptions]) -> Any:
    """Make an Axon of a function: ``@neuron``, or ``@neuron(capabilities=[…])``.

    Args:
        function: The Neuron.
        id: The id; the name of the function by default.
        **options: As for `Axon`.

    Returns:
        The Axon. It can be called as its function.

    Raises:
        TypeError: It is not a function, it has no name and no ``id`` is given, or an option is unknown.
        CosmoError: Any error that `Axon` raises.
    """
    if function is None:
        return lambda function: CallableAxon(function, id, options)
    return CallableAxon(function, id, options)
