"""The judgement of the soak: what counts as growth. ``nox -s short_soak`` runs a soak itself."""

from __future__ import annotations

import pytest

from tests.soak.soak import FLAT, growth


def test_growth_of_a_flat_use_is_one() -> None:
    assert growth([100.0] * 60) == pytest.approx(1)


def test_a_slow_leak_counts_as_growth() -> None:
    assert growth([100.0 + sample / 2 for sample in range(60)]) > FLAT


def test_warm_up_and_single_peaks_do_not_count_as_growth() -> None:
    samples = [*([10.0] * 6), *([100.0] * 54)]
    samples[-5] = 1_000.0
    assert growth(samples) == pytest.approx(1)
