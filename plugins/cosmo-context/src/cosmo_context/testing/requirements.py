"""What a context Neuron must do: every requirement of the kit, by its id."""

from __future__ import annotations

from typing import Final

from cosmo_testing.conformance.requirements import Requirements

_TEXTS_0_1: Final = {
    "context:shape": "It is a `cosmo_context.Neuron`; `format` and `shorten` are coroutine functions.",
    "context:name": "Its name is a string, not an empty one, and always the same.",
    "context:placement": "Its priority and its importance are numbers, its stability is a `Stability`.",
    "context:read-only": "Its name and its priority cannot be set.",
    "context:entry-point": "It is installed, and found by its name.",
    "context:text": "A fragment is a string, with the options of the cache layout, too.",
    "context:examples": "Every example gives the fragment that is expected of it, to the byte.",
    "context:nothing-to-say": 'With nothing to say it gives `""`, unless it claims that it is never empty.',
    "context:trailing-newline": "A fragment does not end with a newline.",
    "context:unknown-option": "An option that it does not know changes nothing.",
    "context:same-twice": "The same Context gives the same fragment, however often, from every instance.",
    "context:state-untouched": "Neither `format` nor `shorten` changes the state.",
    "context:fork": "In a fork of a Context it finds what the parent knows.",
    "context:reads": "The keys of the state that it reads are those that are declared.",
    "context:wrong-shape": "A value of the wrong shape ends in a ContextNeuronError that names the key.",
    "context:any-state": "Whatever the state holds, it gives a fragment or raises a ContextNeuronError.",
    "context:data-marked": "What it quotes is marked as data while a builder wants that, and only then.",
    "context:data-variables": "A `${variable}` in what it quotes stays as it was typed.",
    "context:data-tags": "A tag in what it quotes can be escaped.",
    "context:concurrent": "Asked for many fragments at once, it gives every Context its own.",
    "context:any-loop": "It can be asked in one event loop after another.",
    "context:cancel-prompt": "A cancelled `format` ends at once, as cancelled.",
    "context:usable-after-cancel": "After a cancelled `format` it can be asked again.",
    "context:shorten-fits": "A shortened fragment fits or is empty, however little is allowed.",
    "context:shorten-shorter": "A shortened fragment is never longer than the whole.",
}

REQUIREMENTS: Final = Requirements(prefix="context:", kind="context Neuron", levels={"0.1": _TEXTS_0_1})
"""Every requirement, by id."""
