from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cosmo_core.plugins import PluginManager, default_manager

if TYPE_CHECKING:
    from tests.plugins.conftest import Site

FACTORY = "def make(**options):\n    return options\n"


def test_factory_returns_the_object_of_the_entry_point(site: Site) -> None:
    site.install(
        "acme-echo", points={"cosmo.sources:echo": "acme_echo:make"}, files={"acme_echo.py": FACTORY}
    )
    assert site.manager().factory("cosmo.sources", "echo")(a=1) == {"a": 1}


def test_factory_searches_only_the_given_group(site: Site) -> None:
    files = {"acme.py": "source = 'source'\nengram = 'engram'\n"}
    points = {"cosmo.sources:memo": "acme:source", "cosmo.engrams:memo": "acme:engram"}
    site.install("acme-memo", points=points, files=files)
    manager = site.manager()
    assert manager.factory("cosmo.sources", "memo") == "source"
    assert manager.factory("cosmo.engrams", "memo") == "engram"


def test_second_lookup_returns_the_same_object_without_loading(site: Site) -> None:
    lazy = """
made = []

def __getattr__(name):
    if name != "thing":
        raise AttributeError(name)
    made.append(name)
    return object()
"""
    site.install("acme-lazy", points={"cosmo.sources:lazy": "acme_lazy:thing"}, files={"acme_lazy.py": lazy})
    manager = site.manager()
    first = manager.factory("cosmo.sources", "lazy")
    assert manager.factory("cosmo.sources", "lazy") is first
    assert sys.modules["acme_lazy"].made == ["thing"]


def test_plugin_is_not_imported_before_its_first_use(site: Site) -> None:
    blocks = "import threading\nthreading.Event().wait(5)\n"
    site.install(
        "acme-slow", points={"cosmo.synapses:slow": "acme_slow:make"}, files={"acme_slow.py": blocks}
    )
    site.install(
        "acme-fast", points={"cosmo.synapses:fast": "acme_fast:make"}, files={"acme_fast.py": FACTORY}
    )
    manager = site.manager()
    assert manager.names("cosmo.synapses") == {"fast": "acme-fast 1.0", "slow": "acme-slow 1.0"}
    assert "slow" in {record.name for record in manager.report().records}
    manager.load_hooks()
    manager.factory("cosmo.synapses", "fast")
    assert "acme_fast" in sys.modules
    assert "acme_slow" not in sys.modules


def test_entry_points_are_read_on_first_use(site: Site) -> None:
    manager = site.manager()
    site.install(
        "acme-late", points={"cosmo.sources:late": "acme_late:make"}, files={"acme_late.py": FACTORY}
    )
    assert "late" in manager.names("cosmo.sources")


def test_without_a_path_the_distributions_on_sys_path_are_found(site: Site) -> None:
    site.install(
        "acme-here", points={"cosmo.sources:acme-here": "acme_here:make"}, files={"acme_here.py": FACTORY}
    )
    manager = PluginManager.discover(environ={})
    assert manager.names("cosmo.sources")["acme-here"] == "acme-here 1.0"
    assert manager.factory("cosmo.sources", "acme-here")() == {}


def test_switches_come_from_the_environment_by_default(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("acme-off", points={"cosmo.sources:off": "acme_off:make"})
    monkeypatch.setenv("COSMO_DISABLE_PLUGINS", "off")
    assert PluginManager.discover(path=[str(site.path)]).names("cosmo.sources") == {}


@pytest.mark.parametrize("group", ["cosmo.source", "cosmo.hooks"])
def test_unknown_factory_group_is_refused(group: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown factory group '{group}'; there are cosmo\.sources, "):
        PluginManager(environ={}).factory(group, "x")


def test_manager_made_directly_knows_only_the_extensions_of_the_core() -> None:
    records = PluginManager(environ={}).report().records
    assert {(record.group, record.distribution) for record in records} == {("cosmo.extensions", "cosmo-core")}
    assert [record.name for record in records] == ["auctions", "memory", "watching", "workflow"]


def test_the_default_manager_is_shared() -> None:
    assert default_manager() is default_manager()


def test_unreadable_distribution_does_not_hide_others(site: Site) -> None:
    broken = site.install("acme-broken", "2.0")
    (broken / "entry_points.txt").write_text("[cosmo.sources]\nno equals sign\n", encoding="utf-8")
    nameless = site.install("acme-nameless", points={"cosmo.sources:nameless": "acme:make"})
    (nameless / "METADATA").unlink()
    site.install(
        "acme-echo", points={"cosmo.sources:echo": "acme_echo:make"}, files={"acme_echo.py": FACTORY}
    )
    manager = site.manager()
    assert manager.factory("cosmo.sources", "echo")() == {}
    unreadable = {record.distribution: record for record in manager.report().problems}
    assert unreadable.keys() == {"acme-broken", f"something in {site.path}"}
    assert unreadable["acme-broken"].version == "2.0"
    assert "entry points cannot be read" in (unreadable["acme-broken"].cause or "")
    with pytest.raises(LookupError, match=r"cannot be read: .*acme-broken"):
        manager.factory("cosmo.sources", "other")
