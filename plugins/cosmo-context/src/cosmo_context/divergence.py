"""Where two prompts part."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Divergence:
    """The first difference of a prompt from an earlier one.

    Attributes:
        neuron: Whose text changed: the one that is there in the later prompt, or ended there too early.
        previous_neuron: Whose text was there in the earlier one; None between two fragments and at its end.
        at: Where it is, in characters.
        shared: The share of the later prompt's bytes that come before it, from 0 to 1.
    """

    neuron: str | None
    previous_neuron: str | None
    at: int
    shared: float


def common_length(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    common, different = 0, min(len(one), len(other)) + 1
    # Halving compares whole slices at the speed of memory; each step looks only at what is still open.
    while different - common > 1:
        middle = (common + different) // 2
        if one[common:middle] == other[common:middle]:
            common = middle
        else:
            different = middle
    return common
