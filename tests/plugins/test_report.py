from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cosmo_core.errors import PluginLoadError
from cosmo_core.plugins import PluginRecord, hookimpl

if TYPE_CHECKING:
    from tests.plugins.conftest import Site


class Local:
    @hookimpl
    def cosmo_signal_observers(self) -> None: ...


def test_report_lists_every_plugin_sorted(site: Site) -> None:
    points = {
        "cosmo.hooks:audit": "acme:hooks",
        "cosmo.commands:deploy": "acme:deploy",
        "cosmo.context_neurons:clock": "acme:clock",
        "cosmo.engrams:disk": "acme:disk",
        "cosmo.synapses:wire": "acme:wire",
        "cosmo.sources:two": "acme:two",
        "cosmo.sources:one": "acme:one",
        "console_scripts:acme": "acme:main",
        "cosmo.unheard_of:x": "acme:x",
    }
    site.install("acme", "1.2", points=points)
    manager = site.manager()
    manager.register(Local(), name="a-local")
    assert manager.report().records == (
        PluginRecord("cosmo.sources", "one", "acme", "1.2", "available"),
        PluginRecord("cosmo.sources", "two", "acme", "1.2", "available"),
        PluginRecord("cosmo.synapses", "wire", "acme", "1.2", "available"),
        PluginRecord("cosmo.engrams", "disk", "acme", "1.2", "available"),
        PluginRecord("cosmo.context_neurons", "clock", "acme", "1.2", "available"),
        PluginRecord("cosmo.commands", "deploy", "acme", "1.2", "available"),
        PluginRecord("cosmo.hooks", "a-local", None, None, "loaded"),
        PluginRecord("cosmo.hooks", "audit", "acme", "1.2", "available"),
    )


def test_report_imports_nothing(site: Site) -> None:
    points = {"cosmo.sources:a": "acme_a:make", "cosmo.hooks:a": "acme_a"}
    site.install("acme-a", points=points, files={"acme_a.py": ""})
    site.install("acme-b", points={"cosmo.sources:a": "acme_a:make"})
    manager = site.manager()
    assert [record.status for record in manager.report().records] == ["conflict", "conflict", "available"]
    assert "acme_a" not in sys.modules


def test_report_shows_the_current_status(site: Site) -> None:
    site.install(
        "acme",
        points={"cosmo.sources:good": "acme:make", "cosmo.sources:bad": "acme:gone"},
        files={"acme.py": "make = 1"},
    )
    manager = site.manager()
    manager.factory("cosmo.sources", "good")
    with pytest.raises(PluginLoadError) as caught:
        manager.factory("cosmo.sources", "bad")
    assert manager.report().records == (
        PluginRecord("cosmo.sources", "bad", "acme", "1.0", "failed", str(caught.value)),
        PluginRecord("cosmo.sources", "good", "acme", "1.0", "loaded"),
    )
    assert manager.report().problems == manager.report().records[:1]
