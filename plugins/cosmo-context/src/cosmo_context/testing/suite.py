"""The pytest class that proves a context Neuron right. Needs pytest and hypothesis, no plugin of either."""

from __future__ import annotations

import cosmo_context.testing.checks  # noqa: F401 - fills the list of what proves the requirements
from cosmo_context.testing.subject import ContextNeuronUnderTest

try:
    import hypothesis  # noqa: F401 - one check needs it, and it is better said now than then

    from cosmo_testing.conformance.suite import Conformance
except ImportError as error:
    raise ImportError(
        "ContextNeuronConformance needs cosmo-testing: in a clone of the repository, "
        "run: pip install ./plugins/cosmo-llm ./plugins/cosmo-testing"
    ) from error


class ContextNeuronConformance(Conformance, ContextNeuronUnderTest):
    """What every context Neuron must do, one test per requirement.

    Subclass it as ``class TestMyNeuron(ContextNeuronConformance)`` and fill in what `ContextNeuronUnderTest`
    asks for. A requirement that has no meaning for the Neuron gets its reason in ``not_applicable``. One that
    it does not meet yet is overridden, marked ``@pytest.mark.xfail(reason=…)``.
    """

    def test_shape(self) -> None:
        """It is a `cosmo_context.Neuron`; `format` and `shorten` are coroutine functions."""
        self.prove("context:shape")

    def test_name(self) -> None:
        """Its name is a string, not an empty one, and always the same."""
        self.prove("context:name")

    def test_placement(self) -> None:
        """Its priority and its importance are numbers, its stability is a `Stability`."""
        self.prove("context:placement")

    def test_read_only(self) -> None:
        """Its name and its priority cannot be set."""
        self.prove("context:read-only")

    def test_entry_point(self) -> None:
        """It is installed, and found by its name."""
        self.prove("context:entry-point")

    def test_text(self) -> None:
        """A fragment is a string, with the options of the cache layout, too."""
        self.prove("context:text")

    def test_examples(self) -> None:
        """Every example gives the fragment that is expected of it, to the byte."""
        self.prove("context:examples")

    def test_nothing_to_say(self) -> None:
        """With nothing to say it gives `""`, unless it claims that it is never empty."""
        self.prove("context:nothing-to-say")

    def test_trailing_newline(self) -> None:
        """A fragment does not end with a newline."""
        self.prove("context:trailing-newline")

    def test_unknown_option(self) -> None:
        """An option that it does not know changes nothing."""
        self.prove("context:unknown-option")

    def test_same_twice(self) -> None:
        """The same Context gives the same fragment, however often, from every instance."""
        self.prove("context:same-twice")

    def test_state_untouched(self) -> None:
        """Neither `format` nor `shorten` changes the state."""
        self.prove("context:state-untouched")

    def test_fork(self) -> None:
        """In a fork of a Context it finds what the parent knows."""
        self.prove("context:fork")

    def test_reads(self) -> None:
        """The keys of the state that it reads are those that are declared."""
        self.prove("context:reads")

    def test_wrong_shape(self) -> None:
        """A value of the wrong shape ends in a ContextNeuronError that names the key."""
        self.prove("context:wrong-shape")

    def test_any_state(self) -> None:
        """Whatever the state holds, it gives a fragment or raises a ContextNeuronError."""
        self.prove("context:any-state")

    def test_data_marked(self) -> None:
        """What it quotes is marked as data while a builder wants that, and only then."""
        self.prove("context:data-marked")

    def test_data_variables(self) -> None:
        """A `${variable}` in what it quotes stays as it was typed."""
        self.prove("context:data-variables")

    def test_data_tags(self) -> None:
        """A tag in what it quotes can be escaped."""
        self.prove("context:data-tags")

    def test_concurrent(self) -> None:
        """Asked for many fragments at once, it gives every Context its own."""
        self.prove("context:concurrent")

    def test_any_loop(self) -> None:
        """It can be asked in one event loop after another."""
        self.prove("context:any-loop")

    def test_cancel_prompt(self) -> None:
        """A cancelled `format` ends at once, as cancelled."""
        self.prove("context:cancel-prompt")

    def test_usable_after_cancel(self) -> None:
        """After a cancelled `format` it can be asked again."""
        self.prove("context:usable-after-cancel")

    def test_shorten_fits(self) -> None:
        """A shortened fragment fits or is empty, however little is allowed."""
        self.prove("context:shorten-fits")

    def test_shorten_shorter(self) -> None:
        """A shortened fragment is never longer than the whole."""
        self.prove("context:shorten-shorter")
