"""Options that several commands have."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

from cosmo_core import SignalType
from cosmo_core_cli.bus import Bus
from cosmo_core_cli.completing import synapse_urls
from cosmo_core_cli.failing import Mistake

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
signal_type: Final = click.Choice([type.value for type in SignalType])


def bus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which bus is meant; it gets them as the `Bus` ``bus``."""

    @click.option(
        "--synapse",
        "url",
        metavar="URL",
        envvar="COSMO_SYNAPSE",
        shell_complete=synapse_urls,
        help="The bus, such as zmq://127.0.0.1:7071. [COSMO_SYNAPSE]",
    )
    @click.option(
        "--namespace",
        envvar="COSMO_NAMESPACE",
        default="default",
        show_default=True,
        help="Whose part of the bus. [COSMO_NAMESPACE]",
    )
    @click.option(
        "--synapse-option",
        "options",
        metavar="NAME=VALUE",
        multiple=True,
        envvar="COSMO_SYNAPSE_OPTIONS",
        help="What else the Synapse takes, such as key_file=my.key_secret; repeatable. "
        "[COSMO_SYNAPSE_OPTIONS, with spaces between]",
    )
    @functools.wraps(command)
    def with_bus(*args: Any, url: str | None, namespace: str, options: Iterable[str], **others: Any) -> Any:
        if not url:
            raise Mistake(
                "which bus? Give --synapse URL, or set COSMO_SYNAPSE; `cosmo hub` starts one at "
                "zmq://127.0.0.1:7071"
            )
        bus = Bus(url, namespace, dict(_named_value(option) for option in options))
        return command(*args, bus=bus, **others)

    return with_bus


def _named_value(option: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON where it can be, and else text."""
    name, equals, text = option.partition("=")
    if not equals or not name.isidentifier():
        # Not what was written: it may be a password.
        raise Mistake("--synapse-option is NAME=VALUE, as in key_file=my.key_secret")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
