"""The exact order of all hooks in the life of a Dendrite with two hook plugins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cosmo_core.plugins.hooks import SPECS

if TYPE_CHECKING:
    from cosmo_core.contracts.axon import Axon
    from cosmo_core.dendrite import Dendrite
    from cosmo_core.protocol.signal import Signal
    from tests.plugins.conftest import Site

PLUGIN = """
from cosmo_core.plugins import hookimpl
from hook_log import log

COSMO_ORDER = {order}

@hookimpl
def cosmo_signal_middleware(dendrite, direction):
    log.append(f"{name} cosmo_signal_middleware {{direction}}")

@hookimpl
def cosmo_signal_observers(dendrite):
    log.append("{name} cosmo_signal_observers")

@hookimpl
def cosmo_neuron_wrappers(axon):
    log.append("{name} cosmo_neuron_wrappers")

@hookimpl
async def cosmo_dendrite_started(dendrite):
    log.append("{name} cosmo_dendrite_started")

@hookimpl
async def cosmo_dendrite_stopping(dendrite):
    log.append("{name} cosmo_dendrite_stopping")

@hookimpl
def cosmo_error_info(error, task):
    log.append("{name} cosmo_error_info")
"""

GOLDEN = """\
late cosmo_neuron_wrappers
early cosmo_neuron_wrappers
late cosmo_signal_middleware inbound
early cosmo_signal_middleware inbound
late cosmo_signal_middleware outbound
early cosmo_signal_middleware outbound
late cosmo_signal_observers
early cosmo_signal_observers
late cosmo_dendrite_started
early cosmo_dendrite_started
late cosmo_error_info
early cosmo_error_info
early cosmo_dendrite_stopping
late cosmo_dendrite_stopping"""


async def test_every_hook_of_two_plugins_runs_in_this_order(
    site: Site, dendrite: Dendrite, axon: Axon, task: Signal
) -> None:
    site.install("acme-log", files={"hook_log.py": "log = []\n"})
    # `early` is first by name, by distribution and by directory, but not by its order.
    for name, order in (("early", 1), ("late", 0)):
        module = f"{name}_hooks"
        text = PLUGIN.format(name=name, order=order)
        site.install(f"acme-{name}", points={f"cosmo.hooks:{name}": module}, files={f"{module}.py": text})
    manager = site.manager()
    manager.neuron_wrappers(axon)
    manager.signal_middleware(dendrite, "inbound")
    manager.signal_middleware(dendrite, "outbound")
    manager.signal_observers(dendrite)
    await manager.dendrite_started(dendrite)
    manager.error_info(ValueError("x"), task)
    await manager.dendrite_stopping(dendrite)
    assert "\n".join(sys.modules["hook_log"].log) == GOLDEN


def test_the_golden_log_has_every_hook() -> None:
    assert {line.split()[1] for line in GOLDEN.splitlines()} == set(SPECS)
