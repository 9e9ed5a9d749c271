"""What a source must do: every requirement of the kit, by its id."""

from __future__ import annotations

from typing import Final

from cosmo_testing.conformance.requirements import Requirements

_TEXTS_0_1: Final = {
    "source:import-offline": "Importing the source opens no connection and starts no process.",
    "source:construction-offline": "Making a Neuron needs no event loop, and reaches nothing outside itself.",
    "source:unknown-option": "An option that does not exist is refused with a TypeError that names it.",
    "source:neuron-shape": "The Neuron is an async function or, if it streams, an async generator function.",
    "source:aclose-idempotent": "`aclose` may be called before the first call, and twice.",
    "source:usable-after-aclose": "A closed Neuron can be called again.",
    "source:input-untouched": "A call changes neither its input nor its context.",
    "source:output-json": "The output is an object, and arrives over the bus as it was returned.",
    "source:llm-output": "A language model's output is `response`, a text, and `meta`, an object.",
    "source:stream-order": "A stream is texts, then one object, which is the output.",
    "source:stream-joined": "The texts of a stream, joined, are the `response` of its output.",
    "source:stream-abandoned": "A stream may be left after its first text; the Neuron can be called again.",
    "source:invalid-input": "An invalid input ends in a NeuronError INPUT_INVALID that is not recoverable.",
    "source:any-input": "Whatever object the input is, the call ends in a valid output or in a NeuronError.",
    "source:cancel-prompt": "A cancelled call ends at once, as cancelled.",
    "source:usable-after-cancel": "After a cancelled call the Neuron can be called again.",
    "source:concurrent-answers": "Calls that run at once each get the answer to their own input.",
    "source:concurrent-cancel": "Cancelling one call does not disturb those that run beside it.",
    "source:failure-code": "A failing provider ends the call in a NeuronError with the declared code.",
    "source:failure-recoverable": "The error is recoverable just if the failure may pass by itself.",
    "source:failure-signal": "Hosted by a Dendrite, a failure is an ERROR Signal with that code.",
    "source:usable-after-failure": "Once its provider works again, so does the Neuron.",
    "source:retry-after": "A provider that asks for an hour's pause gets it, and the error says how long.",
    "source:secret-repr": "No secret is in the repr of the Neuron.",
    "source:secret-errors": "No secret is in an error, in what it was caused by, or in its traceback.",
    "source:secret-logs": "No secret is logged, at whatever level.",
    "source:secret-signals": "No secret is in a Signal.",
    "source:no-task-left": "After `aclose` no task of the Neuron runs.",
    "source:nothing-left-open": "After `aclose` no thread, socket or process of the Neuron is left.",
}

REQUIREMENTS: Final = Requirements(prefix="source:", kind="source", levels={"0.1": _TEXTS_0_1})
"""Every requirement, by id."""
