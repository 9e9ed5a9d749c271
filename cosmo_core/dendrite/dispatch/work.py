"""What all work has in common, whether it is dispatched or offered."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict


class WorkOptions(TypedDict, total=False):
    """What every way to give work takes, by keyword.

    Attributes:
        input: The Neuron's input: an object that JSON can carry. All who listen for offers see an offer's.
        trace_id: The trace to go on with; a new one by default.
        parent_id: The id of the Signal that causes this work.
        context_ref: Passed to the context fetcher of the Axon that runs it.
        meta: Whatever else shall travel along.
        deadline_s: For how many seconds from now an answer is of use. Who could only begin later does not
            (P-5.9).
        scope: ``"terminal"`` follows only what ends work: FINAL, ERROR, CLARIFICATION and PERMISSION
            (P-11.4).
        finalize: Have the output sent as FINAL, too, which ends the trace; by default if ``scope`` is
            ``"terminal"``.
    """

    input: Required[dict[str, Any]]
    trace_id: str | None
    parent_id: str | None
    context_ref: str | None
    meta: dict[str, Any] | None
    deadline_s: float | None
    scope: Literal["all", "terminal"]
    finalize: bool | None


def work_payload(options: WorkOptions) -> dict[str, Any]:
    """Return what a TASK and an award carry, but for the time that is left."""
    payload: dict[str, Any] = {"input": options["input"]}
    if (context_ref := options.get("context_ref")) is not None:
        payload["context_ref"] = context_ref
    finalize = options.get("finalize")
    # As asked; or if only what ends work is followed.
    if options.get("scope") == "terminal" if finalize is None else finalize:
        payload["finalize"] = True
    return payload


def in_ms(seconds: float) -> int:
    """Return a time that is left as it travels: 0 when it is up."""
    return int(seconds * 1000) if seconds > 0 else 0
