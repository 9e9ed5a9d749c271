"""From what a Neuron wrote to what the prompt says: variables resolve, imitations are escaped, marks go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from cosmo_context import provenance
from cosmo_context.context import Context
from cosmo_context.data import Part, parts, unmarked
from cosmo_context.escaping import TAGS, escaped, own_tags
from cosmo_context.variables import DynamicVariableRegistry, placeholders


class Refiner:
    """Turns the fragments of one prompt into their final text.

    Args:
        ctx: Where variables, and texts that a Neuron may have quoted, are found.
        variables: Resolves them; None leaves them alone.
        resolve_in_data: Whether they resolve in quoted data, too.
        escape_tags: Whether data that imitates a tag or a turn is escaped.
    """

    def __init__(
        self,
        ctx: Context,
        variables: DynamicVariableRegistry | None,
        *,
        resolve_in_data: bool,
        escape_tags: bool,
    ) -> None:
        self._ctx = ctx
        self._variables = variables
        self._resolve_in_data = resolve_in_data
        self._escape_tags = escape_tags
        self._tags = TAGS

    def refine_all(self, fragments: Sequence[str]) -> list[str]:
        """Return the final texts of all fragments of a prompt, and note the tags they use."""
        taken = [self._parts(fragment) for fragment in fragments]
        if self._escape_tags:
            self._tags = TAGS.union(*map(own_tags, taken))
        return [self._joined(fragment) for fragment in taken]

    def refine(self, fragment: str) -> str:
        """Return the final text of one more fragment of that prompt."""
        return self._joined(self._parts(fragment))

    def _parts(self, fragment: str) -> list[Part]:
        if (marked := parts(fragment)) is not None:
            return marked
        fragment = unmarked(fragment)
        if "${" in fragment or (self._escape_tags and ("<" in fragment or "[" in fragment)):
            return provenance.split(fragment, self._quoted)
        return [Part(fragment, own=True)]

    @cached_property
    def _quoted(self) -> list[str]:
        return provenance.suspicious_texts(self._ctx.task_id, self._ctx.state.to_dict())

    def _joined(self, fragment: Sequence[Part]) -> str:
        resolved = [piece for part in fragment for piece in self._resolved(part)]
        if self._escape_tags:
            return escaped(resolved, self._tags)
        return "".join(piece.text for piece in resolved)

    def _resolved(self, part: Part) -> Iterator[Part]:
        place = 0
        if (variables := self._variables) is not None and (part.own or self._resolve_in_data):
            for found in placeholders(part.text):
                yield Part(part.text[place : found.start()], part.own)
                # What a variable stands for is data again.
                yield Part(variables.replacement(found, self._ctx.state), own=False)
                place = found.end()
        yield Part(part.text[place:], part.own)
