"""The settings of a Context, their ranges, and the three presets."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cosmo_context import AutomationMode, ContextConfig, make_config


def values(config: ContextConfig) -> tuple[str, int, int, int, float]:
    return (
        config.mode,
        config.history_rounds,
        config.summary_threshold,
        config.offload_threshold,
        config.token_budget_trigger,
    )


def test_defaults() -> None:
    assert values(ContextConfig()) == ("copilot", 20, 10, 50, 0.8)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("pilot", ("pilot", 100, 100, 100, 0.8)),
        ("copilot", ("copilot", 20, 10, 50, 0.8)),
        ("navigator", ("navigator", 10, 5, 20, 0.8)),
    ],
)
def test_preset(mode: str, expected: tuple[str, int, int, int, float]) -> None:
    assert values(make_config(mode)) == values(make_config(AutomationMode(mode))) == expected


def test_default_preset_is_copilot() -> None:
    assert make_config() == make_config("copilot") == ContextConfig()


def test_overrides_change_a_preset() -> None:
    config = make_config("navigator", history_rounds=3, token_budget_trigger=1)
    assert values(config) == ("navigator", 3, 5, 20, 1)


def test_mode_does_not_change_other_settings() -> None:
    assert values(ContextConfig(mode="pilot")) == ("pilot", 20, 10, 50, 0.8)
    assert ContextConfig(mode="pilot").mode is AutomationMode.PILOT


@pytest.mark.parametrize("make", [make_config, lambda mode: ContextConfig(mode=mode)])
@pytest.mark.parametrize("mode", ["auto", "", "PILOT", None, 1])
def test_unknown_mode_is_an_error_that_lists_the_modes(make: Any, mode: Any) -> None:
    expected = f"ContextConfig.mode must be one of 'pilot', 'copilot', 'navigator', not {mode!r}"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        make(mode)


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "3", None, True])
@pytest.mark.parametrize("setting", ["history_rounds", "summary_threshold", "offload_threshold"])
def test_count_must_be_a_whole_number_of_at_least_one(setting: str, value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"^ContextConfig\.{setting} must be a whole number of at least 1, not "
    ):
        ContextConfig(**{setting: value})


def test_count_of_one_is_allowed() -> None:
    config = ContextConfig(history_rounds=1, summary_threshold=1, offload_threshold=1)
    assert values(config) == ("copilot", 1, 1, 1, 0.8)


def test_summary_threshold_must_not_exceed_offload_threshold() -> None:
    assert ContextConfig(summary_threshold=50).summary_threshold == 50
    with pytest.raises(ValueError, match=r"summary_threshold \(51\) is above offload_threshold \(50\)"):
        ContextConfig(summary_threshold=51)
    with pytest.raises(ValueError, match=r"summary_threshold \(5\) is above offload_threshold \(4\)"):
        make_config("navigator", offload_threshold=4)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.0])
def test_trigger_is_a_share(value: float) -> None:
    assert ContextConfig(token_budget_trigger=value).token_budget_trigger == value


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, True])
def test_trigger_outside_of_zero_to_one_is_an_error(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^ContextConfig\.token_budget_trigger must be a number from 0 to 1"
    ):
        ContextConfig(token_budget_trigger=value)


def test_unknown_setting_is_an_error() -> None:
    with pytest.raises(TypeError, match="automation_mode"):
        ContextConfig(automation_mode="pilot")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="rounds"):
        make_config("pilot", rounds=3)
    with pytest.raises(TypeError, match="has no option 'history_round'; did you mean history_rounds"):
        make_config("pilot", history_round=3)


def test_settings_are_immutable() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ContextConfig().history_rounds = 3  # type: ignore[misc]
