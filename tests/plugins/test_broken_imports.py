from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cosmo_core.errors import PluginIncompatibleError, PluginLoadError
from cosmo_core.plugins.entry_points import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.plugins.conftest import Site


def _fail(
    site: Site, text: str, *, value: str = "acme_zmq:make", requires: Sequence[str] = ()
) -> PluginLoadError:
    """Install a Synapse plugin with this module, ask for it, and return the error."""
    site.install(
        "acme-zmq",
        "0.2",
        points={"cosmo.synapses:zmq": value},
        files={"acme_zmq.py": text},
        requires=requires,
    )
    with pytest.raises(PluginLoadError) as caught:
        site.manager().factory("cosmo.synapses", "zmq")
    assert str(caught.value).startswith("cosmo.synapses 'zmq' of acme-zmq 0.2 cannot be imported: ")
    return caught.value


def test_broken_import_names_the_distribution_and_keeps_the_cause(site: Site) -> None:
    error = _fail(site, "1 / 0\n")
    assert str(error).endswith("ZeroDivisionError: division by zero")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_module_that_exits_on_import_does_not_end_the_program(site: Site) -> None:
    assert isinstance(_fail(site, "raise SystemExit(3)\n").__cause__, SystemExit)


def test_error_names_the_missing_attribute(site: Site) -> None:
    assert "has no attribute 'make'" in str(_fail(site, "mak = 1\n"))


def test_malformed_entry_point_is_a_load_error(site: Site) -> None:
    assert _fail(site, "", value="not a module!").__cause__ is not None


def test_error_names_the_missing_requirement_with_its_install(site: Site) -> None:
    error = _fail(site, "import absent_bus\n", requires=["attrs>=25", "py-absent-bus[fast]>=26"])
    assert "No module named 'absent_bus'" in str(error)
    assert str(error).endswith(
        'acme-zmq requires py-absent-bus[fast]>=26, not installed: pip install "py-absent-bus[fast]>=26"'
    )


def test_error_ignores_requirements_of_extras_and_other_platforms(site: Site) -> None:
    requires = [
        "absent-a; extra == 'all'",
        "absent-b; sys_platform == 'plan9'",
        "absent-bus>=1; python_version>'3'",
    ]
    error = _fail(site, "import absent_bus.fast\n", requires=requires)
    assert str(error).endswith('acme-zmq requires absent-bus>=1, not installed: pip install "absent-bus>=1"')


def test_error_shows_a_url_requirement_without_its_url(site: Site) -> None:
    error = _fail(site, "import absent_bus\n", requires=["absent-bus @ https://me:hunter2@host/absent.whl"])
    assert str(error).endswith("acme-zmq requires absent-bus, not installed: reinstall acme-zmq")
    assert "hunter2" not in str(error)


def test_missing_requirement_of_this_project_is_installed_from_a_clone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Entry, "absent_requirements", Entry.requirements)
    error = _fail(site, "import cosmo_nope\n", requires=["cosmo-testing>=0.1", "absent-bus>=1"])
    assert str(error).endswith(
        "acme-zmq requires cosmo-testing>=0.1, absent-bus>=1, not installed: in a clone of the repository, "
        'run: pip install ./plugins/cosmo-llm ./plugins/cosmo-testing; then pip install "absent-bus>=1"'
    )


def test_error_advises_to_upgrade_a_requirement_without_the_module(site: Site) -> None:
    error = _fail(site, "import attrs.teleport\n", requires=["attrs>=25"])
    assert str(error).endswith(
        'requires attrs>=25, which is installed without that module: pip install --upgrade "attrs>=25"'
    )


def test_error_says_that_a_dependency_is_undeclared(site: Site) -> None:
    error = _fail(site, "import absent_bus\n", requires=["attrs>=25", "absent-bus; extra == 'fast'"])
    assert "acme-zmq does not declare a requirement that provides 'absent_bus'" in str(error)


def test_missing_part_of_the_plugin_is_not_reported_as_dependency(site: Site) -> None:
    error = _fail(site, "", value="acme_zmq.core:make")
    assert str(error).endswith("a part of the plugin itself: reinstall acme-zmq")


def test_failed_lookup_is_retried(site: Site) -> None:
    site.install(
        "acme-zmq", points={"cosmo.synapses:zmq": "acme_zmq:make"}, files={"acme_zmq.py": "import later\n"}
    )
    manager = site.manager()
    with pytest.raises(PluginLoadError):
        manager.factory("cosmo.synapses", "zmq")
    assert [record.status for record in manager.report().records] == ["failed"]
    site.install("later", files={"later.py": "", "acme_zmq.py": "import later\nmake = 'made'\n"})
    assert manager.factory("cosmo.synapses", "zmq") == "made"
    assert [record.status for record in manager.report().records] == ["loaded"]


@pytest.mark.parametrize(
    ("declared", "advice"),
    [
        ("2", "written for plugin interface 2, this cosmo-core supports 1: upgrade cosmo-core"),
        ("0", "written for plugin interface 0, this cosmo-core supports 1: upgrade acme-zmq"),
        ("'1'", "COSMO_API in acme_zmq must be an integer, got '1'; upgrade acme-zmq, or tell its author"),
        (
            "True",
            "COSMO_API in acme_zmq must be an integer, got True; upgrade acme-zmq, or tell its author",
        ),
    ],
)
def test_error_for_another_interface_says_what_to_upgrade(site: Site, declared: str, advice: str) -> None:
    files = {"acme_zmq/__init__.py": f"COSMO_API = {declared}\n", "acme_zmq/core.py": "1 / 0\n"}
    site.install("acme-zmq", points={"cosmo.synapses:zmq": "acme_zmq.core:make"}, files=files)
    manager = site.manager()
    with pytest.raises(PluginIncompatibleError) as caught:
        manager.factory("cosmo.synapses", "zmq")
    assert advice in str(caught.value)
    assert [record.status for record in manager.report().records] == ["incompatible"]


def test_plugin_for_this_interface_is_loaded(site: Site) -> None:
    files = {"acme_zmq.py": "COSMO_API = 1\nmake = 'made'\n"}
    site.install("acme-zmq", points={"cosmo.synapses:zmq": "acme_zmq:make"}, files=files)
    assert site.manager().factory("cosmo.synapses", "zmq") == "made"


@pytest.mark.parametrize("raised", ["GeneratorExit", "BaseExceptionGroup('x', [GeneratorExit()])"])
def test_exception_that_is_not_an_exception_does_not_end_the_program(site: Site, raised: str) -> None:
    error = _fail(site, f"raise {raised}\n")
    assert not isinstance(error.__cause__, Exception)


def test_interrupt_on_import_is_passed_on(site: Site) -> None:
    site.install(
        "acme-zmq",
        "0.2",
        points={"cosmo.synapses:zmq": "acme_zmq:make"},
        files={"acme_zmq.py": "raise KeyboardInterrupt\n"},
    )
    with pytest.raises(KeyboardInterrupt):
        site.manager().factory("cosmo.synapses", "zmq")
