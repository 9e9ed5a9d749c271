"""The names of `cosmonapse`, and their list in the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cosmo_core.protocol.ids
import cosmo_engram_sqlite
import cosmo_synapse_memory
import cosmonapse
from cosmo_core.protocol import ids

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


LAYERS = {
    "Axon": cosmo_core.Axon,
    "Cortex": cosmo_core.Dendrite,
    "Dendrite": cosmo_core.Dendrite,
    "DendriteProtocolError": cosmo_core.RoleError,
    "EngramBinding": cosmo_core.EngramBinding,
    "Hit": cosmo_core.Hit,
    "InMemoryEngram": cosmo_engram_sqlite.SqliteEngram,
    "RecallResult": cosmo_core.RecallResult,
}
# Wraps an object of the core, has no counterpart, or is a function.
OWN = {"MemoryRegistryStore", "Pathway", "new_event_id"}


@pytest.mark.parametrize(("name", "base"), LAYERS.items())
def test_layer_is_a_class_of_the_core_or_of_a_plugin(name: str, base: type) -> None:
    assert issubclass(getattr(cosmonapse, name), base)


@pytest.mark.parametrize("name", sorted(set(cosmonapse.__all__) - LAYERS.keys() - OWN))
def test_name_is_an_object_of_the_core_or_of_a_plugin(name: str) -> None:
    homes = (cosmo_core, ids, cosmo_synapse_memory, cosmo_engram_sqlite)
    assert any(getattr(cosmonapse, name) is vars(home).get(name) for home in homes)


def test_readme_lists_exactly_the_names() -> None:
    section = README.partition("\n## `cosmonapse`\n")[2].partition("\n### Differences\n")[0]
    there = [*cosmonapse.__all__, "PostgresEngram"]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(there)


def test_program_without_shared_memory_imports_no_database() -> None:
    loaded = "import sys, cosmonapse; print('sqlite3' in sys.modules, 'cosmo_engram_sqlite' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", loaded], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_missing_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cosmonapse' has no attribute 'Glia'"):
        cosmonapse.Glia  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Glia"):
        from cosmonapse import Glia  # type: ignore[attr-defined]  # noqa: F401


def test_postgres_engram_is_the_class_of_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("cosmo_engram_postgres")
    plugin.PostgresEngram = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cosmo_engram_postgres", plugin)
    assert cosmonapse.PostgresEngram is plugin.PostgresEngram


def test_postgres_engram_without_its_plugin_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Python then reports that the module cannot be found.
    monkeypatch.setitem(sys.modules, "cosmo_engram_postgres", None)
    with pytest.raises(ImportError, match=r"PostgresEngram .* pip install \./plugins/cosmo-engram-postgres$"):
        from cosmonapse import PostgresEngram  # noqa: F401


def test_missing_dependency_of_a_plugin_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cosmo_engram_postgres.py").write_text("import a_driver_that_is_not_there")
    monkeypatch.delitem(sys.modules, "cosmo_engram_postgres", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_driver_that_is_not_there"):
        from cosmonapse import PostgresEngram  # noqa: F401
