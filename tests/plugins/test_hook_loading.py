"""Loading of installed hook plugins: a broken one is reported and does not affect the others."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cosmo_core.errors import PluginConflictError, PluginError
from cosmo_core.plugins import hookimpl

if TYPE_CHECKING:
    from cosmo_core.dendrite import Dendrite
    from cosmo_core.plugins import PluginManager
    from tests.plugins.conftest import Site

GOOD = """
from cosmo_core.plugins import hookimpl

@hookimpl
def cosmo_signal_observers(dendrite):
    return print
"""


def _install(
    site: Site, name: str, text: str = GOOD, *, version: str = "1.0", plugin: str | None = None
) -> None:
    module = name.replace("-", "_")
    site.install(
        name, version, points={f"cosmo.hooks:{plugin or name}": module}, files={f"{module}.py": text}
    )


def _asked(manager: PluginManager, dendrite: Dendrite) -> list[str]:
    return [contribution.plugin for contribution in manager.signal_observers(dendrite)]


def _statuses(manager: PluginManager) -> dict[str | None, str]:
    return {record.distribution: record.status for record in manager.report().records}


def test_hooks_are_loaded_on_request_and_not_before(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-good")
    manager = site.manager()
    assert _statuses(manager) == {"acme-good": "available"}
    assert "acme_good" not in sys.modules
    manager.load_hooks()
    assert _statuses(manager) == {"acme-good": "loaded"}
    assert _asked(manager, dendrite) == ["acme-good"]


def test_first_call_loads_the_hooks(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-good")
    assert _asked(site.manager(), dendrite) == ["acme-good"]


async def test_start_loads_the_hooks(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-good")
    manager = site.manager()
    await manager.dendrite_started(dendrite)
    assert _statuses(manager) == {"acme-good": "loaded"}


def test_loading_twice_registers_once(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-good")
    manager = site.manager()
    manager.load_hooks()
    manager.load_hooks()
    assert _asked(manager, dendrite) == ["acme-good"]


def test_second_thread_waits_for_a_load_in_progress(site: Site, dendrite: Dendrite) -> None:
    site.install(
        "acme-gate",
        files={"gate.py": "import threading\nentered, release = threading.Event(), threading.Event()\n"},
    )
    _install(site, "acme-good", "import gate\ngate.entered.set()\nassert gate.release.wait(5)\n" + GOOD)
    gate = importlib.import_module("gate")
    manager = site.manager()
    asking = threading.Event()

    def ask() -> list[str]:
        asking.set()
        return _asked(manager, dendrite)

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(_asked, manager, dendrite)
        assert gate.entered.wait(5)
        late = pool.submit(ask)
        assert asking.wait(5)
        gate.release.set()
        assert (loading.result(5), late.result(5)) == (["acme-good"], ["acme-good"])


BROKEN = {
    "acme-import": "1 / 0",
    "acme-exit": "raise SystemExit(1)",
    "acme-missing": "import absent_bus",
    "acme-none": "",
    "acme-unknown": GOOD.replace("observers", "observer"),
    "acme-argument": GOOD.replace("(dendrite)", "(dendrit)"),
    "acme-coroutine": GOOD.replace("def ", "async def "),
    "acme-wrapper": GOOD.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("return", "yield"),
    "acme-order": GOOD + "COSMO_ORDER = 'first'",
}


def test_broken_plugin_is_reported_once_and_the_others_work(
    site: Site, dendrite: Dendrite, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in BROKEN.items():
        _install(site, name, text)
    _install(site, "acme-future", "COSMO_API = 2")
    _install(site, "acme-good")
    manager = site.manager()
    manager.load_hooks()
    manager.load_hooks()
    assert _asked(manager, dendrite) == ["acme-good"]
    expected = dict.fromkeys(BROKEN, "failed")
    assert _statuses(manager) == expected | {"acme-future": "incompatible", "acme-good": "loaded"}
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert {record.name for record in warnings} == {"cosmo_core.plugins"}
    assert len(warnings) == len(BROKEN) + 1
    for name in BROKEN:
        assert sum(f"'{name}'" in record.getMessage() for record in warnings) == 1


def test_raising_property_is_reported_as_failure_of_the_plugin(site: Site, dendrite: Dendrite) -> None:
    raises = """
class Hooks:
    @property
    def COSMO_ORDER(self):
        raise OSError("no order")

    cosmo_signal_observers = staticmethod(cosmo_signal_observers)

plugin = Hooks()
"""
    site.install(
        "acme-raises",
        points={"cosmo.hooks:raises": "acme_raises:plugin"},
        files={"acme_raises.py": GOOD + raises},
    )
    _install(site, "acme-good")
    manager = site.manager()
    assert _asked(manager, dendrite) == ["acme-good"]
    [problem] = manager.report().problems
    assert problem.cause == "cosmo.hooks 'raises' of acme-raises 1.0 cannot be registered: OSError: no order"


def test_hook_name_with_two_distributions_registers_neither(
    site: Site, dendrite: Dendrite, caplog: pytest.LogCaptureFixture
) -> None:
    _install(site, "acme-audit", plugin="audit", version="2.0")
    _install(site, "bolt-audit", plugin="audit")
    _install(site, "acme-good")
    manager = site.manager()
    assert _asked(manager, dendrite) == ["acme-good"]
    assert _statuses(manager) == {"acme-audit": "conflict", "acme-good": "loaded", "bolt-audit": "conflict"}
    assert "cosmo.hooks 'audit' is claimed by acme-audit 2.0 and bolt-audit 1.0" in caplog.text
    assert "acme_audit" not in sys.modules


def test_preference_resolves_a_conflict_of_hooks(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-audit", plugin="audit")
    _install(site, "bolt-audit", plugin="audit")
    manager = site.manager(COSMO_PREFER_PLUGINS="cosmo.hooks:audit=bolt-audit")
    assert [c.distribution for c in manager.signal_observers(dendrite)] == ["bolt-audit"]


def test_plugin_of_the_program_precedes_an_installed_one_of_the_same_name(
    site: Site, dendrite: Dendrite, caplog: pytest.LogCaptureFixture
) -> None:
    class Local:
        @hookimpl
        def cosmo_signal_observers(self) -> object:
            return print

    _install(site, "acme-audit", plugin="audit")
    manager = site.manager()
    manager.register(Local(), name="audit")
    assert [c.distribution for c in manager.signal_observers(dendrite)] == [None]
    assert [record.status for record in manager.report().records] == ["conflict", "loaded"]
    assert "the name 'audit' is already taken by plugin audit of this program" in caplog.text


@pytest.mark.parametrize("item", ["audit", "acme-audit", "*"])
def test_disabled_hook_plugin_is_not_imported(site: Site, dendrite: Dendrite, item: str) -> None:
    _install(site, "acme-audit", plugin="audit")
    manager = site.manager(COSMO_DISABLE_PLUGINS=item)
    assert _asked(manager, dendrite) == []
    assert _statuses(manager) == {"acme-audit": "disabled"}
    assert "acme_audit" not in sys.modules


def test_strict_raises_every_failure_each_time(site: Site) -> None:
    _install(site, "acme-good")
    _install(site, "acme-broken", "1 / 0")
    _install(site, "acme-future", "COSMO_API = 2")
    _install(site, "acme-audit", plugin="audit")
    _install(site, "bolt-audit", plugin="audit")
    manager = site.manager(COSMO_STRICT_PLUGINS="1")
    for _ in range(2):
        with pytest.raises(PluginError, match="COSMO_STRICT_PLUGINS is set") as caught:
            manager.load_hooks()
        for line in ("'acme-broken' of acme-broken 1.0", "'acme-future' of", "'audit' is claimed by"):
            assert line in str(caught.value)
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert len(caught.value.__cause__.exceptions) == 3
        assert caught.value.__cause__.subgroup(PluginConflictError) is not None


def test_strict_accepts_sound_and_disabled_plugins(site: Site, dendrite: Dendrite) -> None:
    _install(site, "acme-good")
    _install(site, "acme-broken", "1 / 0")
    manager = site.manager(COSMO_STRICT_PLUGINS="1", COSMO_DISABLE_PLUGINS="acme-broken")
    assert _asked(manager, dendrite) == ["acme-good"]
