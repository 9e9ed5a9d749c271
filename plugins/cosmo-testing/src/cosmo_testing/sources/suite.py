"""The pytest class that proves a source right. Needs pytest and hypothesis, and no plugin of either."""

from __future__ import annotations

import cosmo_testing.sources.checks  # noqa: F401 - fills the list of what proves the requirements
from cosmo_testing.sources.subject import SourceUnderTest

try:
    import hypothesis  # noqa: F401 - one check needs it, and it is better said now than then

    from cosmo_testing.conformance.suite import Conformance
except ImportError as error:
    raise ImportError(
        "SourceConformance needs pytest and hypothesis: pip install pytest hypothesis"
    ) from error


class SourceConformance(Conformance, SourceUnderTest):
    """What every source must do, one test per requirement.

    Subclass it as ``class TestMySource(SourceConformance)`` and fill in what `SourceUnderTest` asks for.
    A requirement that has no meaning for the source gets its reason in ``not_applicable``. One that the
    source does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """

    def test_import_offline(self) -> None:
        """Importing the source opens no connection and starts no process."""
        self.prove("source:import-offline")

    def test_construction_offline(self) -> None:
        """Making a Neuron needs no event loop, and reaches nothing outside itself."""
        self.prove("source:construction-offline")

    def test_unknown_option(self) -> None:
        """An option that does not exist is refused with a TypeError that names it."""
        self.prove("source:unknown-option")

    def test_neuron_shape(self) -> None:
        """The Neuron is an async function or, if it streams, an async generator function."""
        self.prove("source:neuron-shape")

    def test_aclose_idempotent(self) -> None:
        """`aclose` may be called before the first call, and twice."""
        self.prove("source:aclose-idempotent")

    def test_usable_after_aclose(self) -> None:
        """A closed Neuron can be called again."""
        self.prove("source:usable-after-aclose")

    def test_input_untouched(self) -> None:
        """A call changes neither its input nor its context."""
        self.prove("source:input-untouched")

    def test_output_json(self) -> None:
        """The output is an object, and arrives over the bus as it was returned."""
        self.prove("source:output-json")

    def test_llm_output(self) -> None:
        """A language model's output is `response`, a text, and `meta`, an object."""
        self.prove("source:llm-output")

    def test_stream_order(self) -> None:
        """A stream is texts, then one object, which is the output."""
        self.prove("source:stream-order")

    def test_stream_joined(self) -> None:
        """The texts of a stream, joined, are the `response` of its output."""
        self.prove("source:stream-joined")

    def test_stream_abandoned(self) -> None:
        """A stream may be left after its first text; the Neuron can be called again."""
        self.prove("source:stream-abandoned")

    def test_invalid_input(self) -> None:
        """An invalid input ends in a NeuronError INPUT_INVALID that is not recoverable."""
        self.prove("source:invalid-input")

    def test_any_input(self) -> None:
        """Whatever object the input is, the call ends in a valid output or in a NeuronError."""
        self.prove("source:any-input")

    def test_cancel_prompt(self) -> None:
        """A cancelled call ends at once, as cancelled."""
        self.prove("source:cancel-prompt")

    def test_usable_after_cancel(self) -> None:
        """After a cancelled call the Neuron can be called again."""
        self.prove("source:usable-after-cancel")

    def test_concurrent_answers(self) -> None:
        """Calls that run at once each get the answer to their own input."""
        self.prove("source:concurrent-answers")

    def test_concurrent_cancel(self) -> None:
        """Cancelling one call does not disturb those that run beside it."""
        self.prove("source:concurrent-cancel")

    def test_failure_code(self, fault: str) -> None:
        """A failing provider ends the call in a NeuronError with the declared code."""
        self.prove("source:failure-code", fault)

    def test_failure_recoverable(self, fault: str) -> None:
        """The error is recoverable just if the failure may pass by itself."""
        self.prove("source:failure-recoverable", fault)

    def test_failure_signal(self, fault: str) -> None:
        """Hosted by a Dendrite, a failure is an ERROR Signal with that code."""
        self.prove("source:failure-signal", fault)

    def test_usable_after_failure(self, fault: str) -> None:
        """Once its provider works again, so does the Neuron."""
        self.prove("source:usable-after-failure", fault)

    def test_retry_after(self) -> None:
        """A provider that asks for an hour's pause gets it, and the error says how long."""
        self.prove("source:retry-after")

    def test_secret_repr(self) -> None:
        """No secret is in the repr of the Neuron."""
        self.prove("source:secret-repr")

    def test_secret_errors(self, fault: str | None) -> None:
        """No secret is in an error, in what it was caused by, or in its traceback."""
        self.prove("source:secret-errors", fault)

    def test_secret_logs(self, fault: str | None) -> None:
        """No secret is logged, at whatever level."""
        self.prove("source:secret-logs", fault)

    def test_secret_signals(self, fault: str | None) -> None:
        """No secret is in a Signal."""
        self.prove("source:secret-signals", fault)

    def test_no_task_left(self, fault: str | None) -> None:
        """After `aclose` no task of the Neuron runs."""
        self.prove("source:no-task-left", fault)

    def test_nothing_left_open(self) -> None:
        """After `aclose` no thread, socket or process of the Neuron is left."""
        self.prove("source:nothing-left-open")
