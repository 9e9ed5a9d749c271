"""Command-line options that several commands share, and how a shell completes their values.

Completion never reports an error: a shell does not show it.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

from cosmo_core import CosmoError, NeuronRecord, SignalType
from cosmo_core.arguments import MAX_SECONDS, did_you_mean
from cosmo_core.plugins import default_manager
from cosmo_core_cli.bus import Bus, open_dendrite, wait_for_announcements
from cosmo_core_cli.errors import UserError

COMPLETION_TIMEOUT_S: Final = 1.0
"""Seconds that a shell waits at most for the Neurons on the bus."""

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class SignalTypeChoice(click.Choice[str]):
    """The name of a SignalType, in any case. A name that is close to one is refused with a suggestion."""

    def __init__(self) -> None:
        super().__init__([type.value for type in SignalType])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of the type."""
        name = str(value).upper()
        return super().convert(name if name in SignalType.__members__ else value, param, ctx)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the error text."""
        return f"{value!r} is not a Signal type; {did_you_mean(str(value).upper(), self.choices)}"


signal_type: Final = SignalTypeChoice()


class Seconds(click.types.FloatParamType):
    """A time in seconds, from 0 or above 0, that the core accepts: finite, and not NaN."""

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        seconds: float = super().convert(value, param, ctx)
        # NaN is in no range.
        if not (seconds > 0 if self._positive else seconds >= 0) or seconds > MAX_SECONDS:
            least = "above 0" if self._positive else "of at least 0"
            self.fail(f"{value!r} is not a number of seconds {least} and at most {MAX_SECONDS:g}", param, ctx)
        return seconds


def bus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a bus; the command gets them as the argument ``bus``, a `Bus`."""

    @optional_bus_options
    @functools.wraps(command)
    def with_bus(*args: Any, bus: Bus | None, **others: Any) -> Any:
        return command(*args, bus=required(bus), **others)

    return with_bus


def required(bus: Bus | None) -> Bus:
    """Return the bus that a command needs.

    Raises:
        UserError: No bus is given.
    """
    if bus is None:
        raise UserError(
            "no bus is given. Give --synapse URL, or set COSMO_SYNAPSE; `cosmo hub` starts a bus at "
            "zmq://127.0.0.1:7071"
        )
    return bus


def optional_bus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Do as `bus_options` does, for a command that needs a bus only at times: ``bus`` is None without one."""

    @click.option(
        "--synapse",
        "url",
        metavar="URL",
        envvar="COSMO_SYNAPSE",
        shell_complete=complete_url,
        help="The URL of the bus, such as zmq://127.0.0.1:7071. [COSMO_SYNAPSE]",
    )
    @click.option(
        "--namespace",
        envvar="COSMO_NAMESPACE",
        default="default",
        show_default=True,
        help="The namespace on the bus. [COSMO_NAMESPACE]",
    )
    @click.option(
        "--synapse-option",
        "options",
        metavar="NAME=VALUE",
        multiple=True,
        envvar="COSMO_SYNAPSE_OPTIONS",
        help="A further option of the Synapse, such as key_file=my.key_secret; repeatable. "
        "[COSMO_SYNAPSE_OPTIONS, separated by spaces]",
    )
    @functools.wraps(command)
    def with_bus(*args: Any, url: str | None, namespace: str, options: Iterable[str], **others: Any) -> Any:
        if not url:
            return command(*args, bus=None, **others)
        if "://" not in url:
            # In the form of a URL, in which a password is not printed.
            raise UserError(f"the address of the bus has no scheme; did you mean zmq://{url}?")
        bus = Bus(url, namespace, dict(_named_value(option) for option in options))
        return command(*args, bus=bus, **others)

    return with_bus


def complete_url(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete the scheme of a URL from the installed Synapses."""
    return [f"{name}://" for name in default_manager().names("cosmo.synapses") if name.startswith(incomplete)]


def complete_neuron(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete the id of a Neuron on the bus."""
    found = {record.neuron_id for record in _neurons(context)}
    return sorted(id for id in found if id.startswith(incomplete))


def complete_capability(context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    """Complete a capability of a Neuron on the bus."""
    found = {name for record in _neurons(context) for name in record.capabilities}
    return sorted(name for name in found if name.startswith(incomplete))


def _neurons(context: click.Context) -> list[NeuronRecord]:
    url = context.params.get("url")
    if not url:
        return []
    bus = Bus(url, context.params.get("namespace") or "default")

    async def find() -> list[NeuronRecord]:
        async with asyncio.timeout(COMPLETION_TIMEOUT_S), open_dendrite(bus) as dendrite:
            await wait_for_announcements(dendrite)
            return dendrite.find_neurons()

    try:
        return asyncio.run(find())
    except (CosmoError, TimeoutError, click.ClickException):
        return []


def _named_value(option: str) -> tuple[str, Any]:
    """Parse ``name=value``. A value that is not JSON is text."""
    name, equals, text = option.partition("=")
    if not equals or not name.isidentifier():
        # The value is not repeated: it may be a password.
        raise UserError("--synapse-option is NAME=VALUE, as in key_file=my.key_secret")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
