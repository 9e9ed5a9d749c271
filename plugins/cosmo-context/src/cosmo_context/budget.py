"""The token budget of a prompt: the limit, and shortening or dropping fragments until the prompt fits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from cosmo_context.context import Context
from cosmo_context.errors import BudgetExceededError
from cosmo_context.formatting import Formatted, OnError, ask_shorter
from cosmo_context.neuron import REQUIRED, Neuron, is_number
from cosmo_context.rendered import Status
from cosmo_core.arguments import check_count

CountTokens = Callable[[str], int]
"""Counts the tokens of a text. Use the tokenizer of the model where the limit is tight."""


def approximate_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four ASCII characters, and one per other character.

    The error is about ten per cent for English prose. For most other scripts the estimate is too high; for
    text that tokenizers split finely, such as numbers, it is too low.
    """
    ascii_only = len(text.encode("ascii", "ignore"))
    return -(-ascii_only // 4) + len(text) - ascii_only


def _not_negative(budget: Budget, field: attrs.Attribute[int], value: int) -> None:
    check_count(f"Budget.{field.name}", value, 0)


def _numbers(budget: Budget, field: attrs.Attribute[Any], importance: Mapping[str, object]) -> None:
    for name, value in importance.items():
        if not is_number(value):
            raise TypeError(f"Budget.importance[{name!r}] must be a number, not {value!r}")


@attrs.frozen
class Budget:
    """The token limit of a prompt.

    Attributes:
        max_tokens: The most tokens of the prompt and the reply of the model together.
        reserve: How many of them are reserved for the reply.
        importance: Importance by name of Neuron; it overrides `Neuron.importance`.

    Raises:
        TypeError: A limit is not an integer, or an importance is not a number.
        ValueError: A limit is negative, or no tokens are left for the prompt.
    """

    max_tokens: int = attrs.field(validator=_not_negative)
    reserve: int = attrs.field(default=0, kw_only=True, validator=_not_negative)
    importance: Mapping[str, float] = attrs.field(
        default=MappingProxyType({}), kw_only=True, validator=_numbers
    )

    def __attrs_post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(
                f"Budget.reserve ({self.reserve}) leaves none of {self.max_tokens} tokens for the prompt"
            )

    @property
    def limit(self) -> int:
        """The most tokens of the prompt."""
        return self.max_tokens - self.reserve

    def importance_of(self, neuron: Neuron) -> float:
        """Return the importance of a Neuron under this budget."""
        return self.importance.get(neuron.name, neuron.importance)


_TRIES: Final = 3

logger = logging.getLogger("cosmo_context")


@attrs.define(eq=False)
class Draft:
    """A fragment while its prompt is being composed.

    Attributes:
        formatted: The result of its Neuron.
        raw: The fragment before variables and escapes.
        text: The text in the prompt.
        status: The status of the fragment; see `Fragment`.
        change: How the fragment was changed for the budget; None if it was not.
        failed: Whether its Neuron failed. Such a Neuron is not asked again.
    """

    formatted: Formatted
    raw: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    status: Status
    change: str | None = None
    failed: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.failed = self.formatted.error is not None

    @property
    def neuron(self) -> Neuron:
        """The Neuron of the fragment."""
        return self.formatted.entry.neuron


@attrs.frozen
class Fitting:
    """Shortens and drops drafts until their prompt is within the budget.

    Attributes:
        ctx: The Context that the Neurons read.
        budget: The token limit.
        count: Counts tokens.
        join: Returns the prompt of the current drafts.
        refine: Returns the final text of a raw fragment.
        timeout_s: Time limit in seconds of a Neuron that shortens its fragment.
        on_error: ``"raise"`` if a Neuron that fails to shorten its fragment ends the build. Otherwise the
            fragment is not shortened.
    """

    ctx: Context
    budget: Budget
    count: CountTokens
    join: Callable[[], str]
    refine: Callable[[str], str]
    timeout_s: float | None
    on_error: OnError

    async def fit(self, drafts: Sequence[Draft]) -> None:
        """Shorten and drop drafts until their prompt fits.

        In the first pass, each Neuron that can shorten its fragment gives up to half of its tokens. In the
        second pass, each gives the tokens that are still too many, or is dropped. Both passes start with the
        least important Neuron, and with the later one of equals, and stop when the prompt fits.

        Raises:
            BudgetExceededError: The drafts with the importance `REQUIRED` do not fit.
            ContextNeuronError: A Neuron failed to shorten its fragment, and ``on_error`` is ``"raise"``.
        """
        candidates = self._candidates(drafts)
        for draft in candidates:
            if (excess := self._excess()) <= 0:
                return
            tokens = self.count(draft.text)
            await self._shorten(draft, max(tokens - excess, tokens // 2))
        for draft in candidates:
            for _ in range(_TRIES):
                if (excess := self._excess()) <= 0:
                    return
                if not await self._shorten(draft, self.count(draft.text) - excess):
                    break
            if (excess := self._excess()) > 0:
                self._drop(draft, excess)
        if (excess := self._excess()) > 0:
            required = [draft.neuron.name for draft in drafts if draft.text]
            raise BudgetExceededError(self.budget.limit + excess, self.budget.limit, required)

    def _candidates(self, drafts: Sequence[Draft]) -> list[Draft]:
        # Sorting is stable, so that after the reversal the later one of equals comes first.
        ranked = [
            (self.budget.importance_of(draft.neuron), draft) for draft in reversed(drafts) if draft.text
        ]
        ranked.sort(key=lambda rank: rank[0])
        return [draft for importance, draft in ranked if importance < REQUIRED]

    def _excess(self) -> int:
        return self.count(self.join()) - self.budget.limit

    async def _shorten(self, draft: Draft, allowed: int) -> bool:
        """Shorten a draft to the allowed tokens; tell whether that was possible."""
        if allowed <= 0 or draft.failed:
            return False
        raw = await self._shorter(draft, allowed)
        text = self.refine(raw)
        if not text:
            return False
        if (tokens := self.count(text)) > allowed:
            logger.warning(
                "context Neuron %r shortened its fragment to %d tokens; %d are allowed: it is not shortened",
                draft.neuron.name,
                tokens,
                allowed,
            )
            return False
        draft.raw, draft.text = raw, text
        draft.change = f"shortened to {tokens} tokens for the budget of {self.budget.limit}"
        draft.status = "shortened"
        return True

    def _drop(self, draft: Draft, excess: int) -> None:
        draft.change = (
            f"dropped with {self.count(draft.text)} tokens: the prompt was {excess} tokens over"
            f" the budget of {self.budget.limit}"
        )
        draft.status = "dropped"
        draft.raw = draft.text = ""

    async def _shorter(self, draft: Draft, allowed: int) -> str:
        formatted = await ask_shorter(
            self.ctx,
            draft.formatted.entry,
            lambda raw: self.count(self.refine(raw)) <= allowed,
            timeout_s=self.timeout_s,
        )
        draft.formatted.elapsed_s += formatted.elapsed_s
        if (error := formatted.error) is not None:
            if self.on_error == "raise":
                raise error
            logger.warning("%s; its fragment is not shortened", error, exc_info=error.__cause__)
            draft.failed = True
        return formatted.text
