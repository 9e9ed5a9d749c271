"""Names that are looked for in `cosmo_core`."""

from __future__ import annotations

import sys
from importlib import import_module
from subprocess import run

import pytest

import cosmo_core
from cosmo_core.plugins.advice import CLASSES


def test_sync_is_imported_on_use() -> None:
    assert cosmo_core.sync is import_module("cosmo_core.sync")


@pytest.mark.parametrize("name", ["Engram", "Hit", "ObservedPathway", "sync"])
def test_name_that_is_imported_on_use_is_found(name: str) -> None:
    assert name in dir(cosmo_core)
    assert getattr(cosmo_core, name) is getattr(cosmo_core, name)


def test_import_loads_no_plugin_system_no_extension_and_nothing_for_engrams() -> None:
    program = "import sys, cosmo_core; from cosmo_core import Axon, Dendrite; print(*sys.modules)"
    # In a new process: this one has imported all of these.
    ran = run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)  # noqa: S603
    on_use = {
        "attr",
        "cosmo_core.contracts.engram",
        "cosmo_core.extensions",
        "cosmo_core.plugins",
        "cosmo_core.sync",
        "hashlib",
        "importlib_metadata",
        "json",
        "pluggy",
        "random",
        "urllib.parse",
    }
    assert on_use.isdisjoint(ran.stdout.split())


@pytest.mark.parametrize("name", CLASSES)
def test_import_of_a_class_of_a_plugin_says_where_it_is(name: str) -> None:
    package = CLASSES[name].replace("-", "_")
    with pytest.raises(
        ImportError, match=f"write `from {package} import {name}`.* ./plugins/{CLASSES[name]}"
    ):
        exec(f"from cosmo_core import {name}", {})  # noqa: S102 - the name is a parameter of the test
    assert getattr(import_module(package), name)


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(cosmo_core, "Nonsense")
    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        exec("from cosmo_core import Nonsense", {})  # noqa: S102 - an import of what does not exist
