"""What the Neurons that list the items of one state key have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from cosmo_context.context import Context
from cosmo_context.errors import StateShapeError
from cosmo_context.neuron import Fits, StateNeuron


class ListNeuron(StateNeuron):
    """Lists the items of one state key between two tags, a line per item.

    A prompt that is too long keeps the first items: a subclass whose last ones count more overrides `kept`.

    Attributes:
        key: The state key to read.
        tag: The name of the tags.
    """

    key: ClassVar[str]
    tag: ClassVar[str]

    @abstractmethod
    def lines(self, items: Sequence[Any]) -> list[str]:
        """Return one line per item."""

    def items(self, ctx: Context, **kwargs: Any) -> Sequence[Any]:
        """Return the items to list.

        Raises:
            StateShapeError: What is there is no list.
        """
        return as_list(self.name, self.key, ctx.state.get(self.key))

    def kept(self, items: Sequence[Any], count: int) -> Sequence[Any]:
        """Return the ``count`` items to keep when there is no room for all."""
        return items[:count]

    def fragment(self, ctx: Context, **kwargs: Any) -> str:
        """List the items; ``""`` when there are none.

        Raises:
            StateShapeError: What is there is no list, or an item that is asked for a key is no mapping.
        """
        items = self.items(ctx, **kwargs)
        try:
            return self.listing(items)
        except AttributeError as error:
            if error.name == "get":
                self._blame(error.obj, ctx, items)
            raise

    def listing(self, items: Sequence[Any]) -> str:
        """Return the lines of the items between the tags; ``""`` when there are none."""
        if not items:
            return ""
        return "\n".join((f"<{self.tag}>", *self.lines(items), f"</{self.tag}>"))

    async def shorten(self, ctx: Context, fits: Fits, **kwargs: Any) -> str:
        """List as many items as fit."""
        items = self.items(ctx, **kwargs)
        fitting, too_many = 0, len(items)
        while too_many - fitting > 1:
            count = (fitting + too_many) // 2
            if fits(self.listing(self.kept(items, count))):
                fitting = count
            else:
                too_many = count
        return self.listing(self.kept(items, fitting)) if fitting else ""

    def _blame(self, item: object, ctx: Context, items: Sequence[Any]) -> None:
        index = next((place for place, candidate in enumerate(items) if candidate is item), None)
        if index is None:
            return
        held = ctx.state.get(self.key)
        # The items may be only the end of what the state has: then its place is further on.
        before = len(held) - len(items) if isinstance(held, Sequence) else 0
        if before > 0 and held[before + index] is item:
            index += before
        raise StateShapeError(self.name, self.key, "a mapping", item, index)


def as_list(neuron: str, key: str, value: object) -> Sequence[Any]:
    """Return what a state key holds as something to slice; whatever is falsy is empty.

    Raises:
        StateShapeError: It cannot be iterated, or is text or a mapping, whose parts are no items.
    """
    if isinstance(value, (list, tuple)):
        return value
    if not value:
        return ()
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping)):
        raise StateShapeError(neuron, key, "a list", value)
    return list(value)
