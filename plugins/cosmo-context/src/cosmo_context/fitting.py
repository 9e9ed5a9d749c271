"""Making a prompt fit: fragments shorten themselves, and the least important go if that is not enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from cosmo_context.budget import Budget
from cosmo_context.context import Context
from cosmo_context.errors import BudgetExceededError
from cosmo_context.formatting import Formatted, OnError, ask_shorter
from cosmo_context.neuron import REQUIRED, Neuron
from cosmo_context.rendered import Status
from cosmo_context.tokens import CountTokens

_TRIES: Final = 3

logger = logging.getLogger("cosmo_context")


@attrs.define(eq=False)
class Draft:
    """A fragment on its way into a prompt.

    Attributes:
        formatted: What its Neuron gave.
        raw: The fragment before variables and escapes.
        text: What the prompt would have of it.
        status: What became of it.
        change: What was done to it for the budget; None while nothing was.
        failed: Whether its Neuron failed, and is not asked again.
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
        """Whose it is."""
        return self.formatted.entry.neuron


@attrs.frozen
class Fitting:
    """What it takes to make drafts fit.

    Attributes:
        ctx: What the Neurons read.
        budget: How long the prompt may be.
        count: Counts tokens.
        join: Makes the prompt of the drafts as they are.
        refine: Makes the final text of a raw fragment.
        timeout_s: How many seconds a Neuron may take to shorten itself.
        on_error: Whether a Neuron that fails to do so ends the build; otherwise its fragment stays as it is.
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

        First every Neuron that can shorten itself gives up to half of what it has; then each gives what is
        still needed, or is dropped. Both times the least important is asked first, of equals the later
        one, and nobody is asked once the prompt fits.

        Raises:
            BudgetExceededError: It does not fit without a draft whose importance is `REQUIRED`.
            ContextNeuronError: A Neuron failed to shorten itself, and ``on_error`` is ``"raise"``.
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
        # Sorting keeps the order of equals: reversed, the later one comes first.
        ranked = [
            (self.budget.importance_of(draft.neuron), draft) for draft in reversed(drafts) if draft.text
        ]
        ranked.sort(key=lambda rank: rank[0])
        return [draft for importance, draft in ranked if importance < REQUIRED]

    def _excess(self) -> int:
        return self.count(self.join()) - self.budget.limit

    async def _shorten(self, draft: Draft, allowed: int) -> bool:
        """Shorten a draft to what is allowed; tell whether that was possible."""
        if allowed <= 0 or draft.failed:
            return False
        raw = await self._shorter(draft, allowed)
        text = self.refine(raw)
        if not text:
            return False
        if (tokens := self.count(text)) > allowed:
            logger.warning(
                "context Neuron %r shortened itself to %d tokens where %d are allowed; it stays as it is",
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
            f"dropped: its {self.count(draft.text)} tokens are among the {excess} too many"
            f" for the budget of {self.budget.limit}"
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
