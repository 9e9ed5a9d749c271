"""`cosmo schema`: print the JSON Schema of Signals."""

from __future__ import annotations

from typing import Any

import click

from cosmo_core import SignalType, json_schema
from cosmo_core_cli.options import signal_type
from cosmo_core_cli.output import print_json


@click.command()
@click.option("--type", "type", metavar="TYPE", type=signal_type, help="Only the payload of this type.")
def schema(type: str | None) -> None:
    """Print the JSON Schema (2020-12) of a Signal on the wire, or of the payload of one type."""
    document = json_schema()
    print_json(document if type is None else _payload(document, SignalType(type)))


def _payload(document: dict[str, Any], type: SignalType) -> dict[str, Any]:
    for rule in document["allOf"]:
        if rule["if"]["properties"]["type"]["const"] == type:
            name = rule["then"]["properties"]["payload"]["$ref"].rpartition("/")[2]
            return {"$schema": document["$schema"], **document["$defs"][name]}
    raise LookupError(f"the schema has no rule for {type.value}")
