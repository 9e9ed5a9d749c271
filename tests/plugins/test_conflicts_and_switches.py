from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import PluginConflictError, PluginError, UnknownPluginError
from cosmo_core.plugins import PluginManager
from cosmo_core.plugins.switches import Switches, canonical

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.conftest import Site


@pytest.fixture
def rivals(site: Site) -> Site:
    """Two distributions that both bring the Synapse ``zmq``."""
    for name, version in (("acme-zmq", "2.0"), ("bolt-zmq", "0.1")):
        module = name.replace("-", "_")
        site.install(
            name,
            version,
            points={"cosmo.synapses:zmq": f"{module}:make"},
            files={f"{module}.py": f"make = {name!r}\n"},
        )
    return site


def test_name_with_two_distributions_raises_on_use_and_names_both(rivals: Site) -> None:
    manager = rivals.manager()
    with pytest.raises(PluginConflictError) as caught:
        manager.factory("cosmo.synapses", "zmq")
    assert str(caught.value) == (
        "cosmo.synapses 'zmq' is claimed by acme-zmq 2.0 and bolt-zmq 0.1: pip uninstall all but one, "
        "or choose one with COSMO_PREFER_PLUGINS=cosmo.synapses:zmq=acme-zmq"
    )
    assert manager.names("cosmo.synapses") == {"zmq": "acme-zmq 2.0 and bolt-zmq 0.1"}


def test_preference_resolves_a_conflict(rivals: Site) -> None:
    manager = rivals.manager(COSMO_PREFER_PLUGINS="cosmo.engrams:x=y, cosmo.synapses:zmq=Bolt.ZMQ")
    assert manager.factory("cosmo.synapses", "zmq") == "bolt-zmq"
    chosen = {record.distribution: (record.status, record.cause) for record in manager.report().records}
    assert chosen == {
        "acme-zmq": ("disabled", "COSMO_PREFER_PLUGINS chooses bolt-zmq 0.1"),
        "bolt-zmq": ("loaded", None),
    }


def test_preference_for_another_distribution_is_reported(rivals: Site) -> None:
    manager = rivals.manager(COSMO_PREFER_PLUGINS="cosmo.synapses:zmq=other")
    with pytest.raises(
        PluginConflictError, match="COSMO_PREFER_PLUGINS names other, which does not claim it"
    ):
        manager.factory("cosmo.synapses", "zmq")


def test_disabling_one_distribution_resolves_a_conflict(rivals: Site) -> None:
    manager = rivals.manager(COSMO_DISABLE_PLUGINS="acme_zmq")
    assert manager.factory("cosmo.synapses", "zmq") == "bolt-zmq"


def test_distribution_found_twice_is_not_a_conflict_and_the_first_counts(site: Site, tmp_path: Path) -> None:
    points = {"cosmo.synapses:zmq": "acme_zmq:make"}
    site.install("acme-zmq", "2.0", points=points, files={"acme_zmq.py": "make = 'made'\n"})
    left_over = site.install("Acme_ZMQ", "1.0", points={"cosmo.synapses:zmq": "gone:make"})
    (tmp_path / "old").mkdir()
    left_over.rename(tmp_path / "old" / left_over.name)
    manager = PluginManager.discover(path=[str(site.path), str(tmp_path / "old")], environ={})
    assert manager.factory("cosmo.synapses", "zmq") == "made"
    assert manager.names("cosmo.synapses") == {"zmq": "acme-zmq 2.0"}


@pytest.mark.parametrize("item", ["zmq", "acme-zmq", "ACME_zmq", "*"])
def test_error_for_a_disabled_plugin_says_that_it_is_disabled(site: Site, item: str) -> None:
    site.install("acme-zmq", "2.0", points={"cosmo.synapses:zmq": "acme_zmq:make"})
    manager = site.manager(COSMO_DISABLE_PLUGINS=f"other, {item}")
    with pytest.raises(UnknownPluginError) as caught:
        manager.factory("cosmo.synapses", "zmq")
    assert str(caught.value) == (
        f"cosmo.synapses 'zmq' of acme-zmq 2.0 is disabled: COSMO_DISABLE_PLUGINS has {item!r}"
    )
    assert manager.names("cosmo.synapses") == {}


def test_disabling_one_plugin_keeps_the_others(site: Site) -> None:
    points = {"cosmo.sources:one": "acme:one", "cosmo.sources:two": "acme:two"}
    site.install("acme", points=points, files={"acme.py": "one = 1\ntwo = 2\n"})
    manager = site.manager(COSMO_DISABLE_PLUGINS="one")
    assert manager.factory("cosmo.sources", "two") == 2


@pytest.mark.parametrize(
    ("switch", "text", "advice"),
    [
        ("COSMO_PREFER_PLUGINS", "zmq=acme", "write group:name=distribution"),
        ("COSMO_PREFER_PLUGINS", "cosmo.synapses:zmq", "write group:name=distribution"),
        ("COSMO_PREFER_PLUGINS", "cosmo.synapses:zmq=", "write group:name=distribution"),
        ("COSMO_STRICT_PLUGINS", "yes", "write 1 for strict"),
    ],
)
def test_invalid_switch_is_refused_at_once(switch: str, text: str, advice: str) -> None:
    with pytest.raises(PluginError, match=f"{switch} .*{text}.*{advice}"):
        PluginManager(environ={switch: text})


@given(st.from_regex(r"[A-Za-z0-9]+([-_.]+[A-Za-z0-9]+){0,3}", fullmatch=True))
def test_a_distribution_is_disabled_under_every_spelling_of_its_name(name: str) -> None:
    switches = Switches.read({"COSMO_DISABLE_PLUGINS": name})
    for spelling in (name, name.upper(), canonical(name), name.replace("-", "_")):
        assert switches.disabled_by("an entry", spelling) == name
