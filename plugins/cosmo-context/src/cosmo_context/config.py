"""The settings of a Context, and their three presets."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import attrs

from cosmo_core.arguments import check_options


class AutomationMode(StrEnum):
    """The autonomy of a program."""

    PILOT = "pilot"
    COPILOT = "copilot"
    NAVIGATOR = "navigator"


def _mode(value: AutomationMode | str) -> AutomationMode:
    try:
        return AutomationMode(value)
    except ValueError:
        modes = ", ".join(map(repr, map(str, AutomationMode)))
        raise ValueError(f"ContextConfig.mode must be one of {modes}, not {value!r}") from None


def _at_least_one(config: ContextConfig, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"ContextConfig.{field.name} must be a whole number of at least 1, not {value!r}")


def _share(config: ContextConfig, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"ContextConfig.{field.name} must be a number from 0 to 1, not {value!r}")


@attrs.frozen(kw_only=True)
class ContextConfig:
    """The settings of a Context.

    Attributes:
        mode: ``"pilot"``, ``"copilot"`` or ``"navigator"``; `make_config` returns the settings for it.
        history_rounds: Prompts contain the last ``2 * history_rounds`` messages of the history.
        summary_threshold: The number of messages at which a program should summarise its history.
        offload_threshold: The number of messages at which it should move them to another store.
        token_budget_trigger: The used share of a budget above which `Rendered.over_trigger` is set.

    Raises:
        ValueError: A value is out of range, or ``summary_threshold`` is above ``offload_threshold``.
    """

    mode: AutomationMode = attrs.field(default=AutomationMode.COPILOT, converter=_mode)
    history_rounds: int = attrs.field(default=20, validator=_at_least_one)
    summary_threshold: int = attrs.field(default=10, validator=_at_least_one)
    offload_threshold: int = attrs.field(default=50, validator=_at_least_one)
    token_budget_trigger: float = attrs.field(default=0.8, validator=_share)

    def __attrs_post_init__(self) -> None:
        if self.summary_threshold > self.offload_threshold:
            raise ValueError(
                f"ContextConfig.summary_threshold ({self.summary_threshold}) is above offload_threshold"
                f" ({self.offload_threshold})"
            )


_PRESETS: Final[dict[AutomationMode, dict[str, int]]] = {
    AutomationMode.PILOT: {"history_rounds": 100, "summary_threshold": 100, "offload_threshold": 100},
    AutomationMode.COPILOT: {"history_rounds": 20, "summary_threshold": 10, "offload_threshold": 50},
    AutomationMode.NAVIGATOR: {"history_rounds": 10, "summary_threshold": 5, "offload_threshold": 20},
}


def make_config(mode: AutomationMode | str = AutomationMode.COPILOT, **overrides: Any) -> ContextConfig:
    """Return the settings of a mode, changed by ``overrides``.

    Raises:
        ValueError: The mode does not exist, or a value is out of range.
        TypeError: A setting does not exist; the message suggests a similar one.
    """
    check_options("make_config", overrides, attrs.fields_dict(ContextConfig).keys() - {"mode"})
    mode = _mode(mode)
    return ContextConfig(mode=mode, **(_PRESETS[mode] | overrides))
