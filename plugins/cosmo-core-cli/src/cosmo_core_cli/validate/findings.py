"""What is wrong in a file of Signals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from cosmo_core import MalformedSignalError, Signal, decode
from cosmo_core_cli.failing import Mistake

if TYPE_CHECKING:
    from cosmo_core_cli.validate.frames import Frame


@attrs.frozen
class Invalid:
    """A frame that is no Signal, or a Signal that breaks a rule of its trace.

    Attributes:
        place: Its line, or its place in a list.
        field: The path of the field, or the name of the rule.
        reason: What is wrong.
    """

    place: str
    field: str
    reason: str


@attrs.define
class Findings:
    """What was found so far.

    Attributes:
        keeps: Whether Signals are kept for `broken_traces`.
        signals: How many frames are Signals.
        invalid: How many are not.
    """

    keeps: bool
    signals: int = 0
    invalid: int = 0
    _kept: dict[str, list[tuple[str, Signal]]] = attrs.field(factory=dict)

    def invalid_frames(self, frames: Iterable[Frame]) -> Iterator[Invalid]:
        """Read frames, and yield those that are no Signals."""
        for frame in frames:
            try:
                signal = decode(frame.data)
            except MalformedSignalError as error:
                self.invalid += 1
                yield Invalid(frame.place, error.field, error.reason)
            else:
                self.signals += 1
                if self.keeps:
                    self._kept.setdefault(signal.trace_id, []).append((frame.place, signal))

    def broken_traces(self) -> Iterator[Invalid]:
        """Yield, of each trace that breaks a rule, the first Signal that does.

        Raises:
            Mistake: What checks traces is not installed.
        """
        check = _trace_check()
        for placed in self._kept.values():
            wrong = check([signal for _, signal in placed])
            if wrong is not None:
                place = next(place for place, signal in placed if signal is wrong[0])
                self.invalid += 1
                yield Invalid(place, wrong[1], wrong[2])


def _trace_check() -> Any:
    try:
        from cosmo_core_cli.validate.traces import first_wrong
    except ImportError as error:
        raise Mistake(
            "--trace needs cosmo-testing: in a clone of the repository, "
            f"run: pip install ./plugins/cosmo-llm ./plugins/cosmo-testing ({error})"
        ) from error
    return first_wrong
