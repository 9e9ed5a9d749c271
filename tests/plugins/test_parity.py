"""Every hook has a specification, a method of the manager, a line in the golden log, and tests."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cosmo_core.plugins import PluginManager
from cosmo_core.plugins.hooks import SPECS, parameters

TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))


def test_there_are_specifications() -> None:
    assert set(SPECS) == {
        "cosmo_signal_middleware",
        "cosmo_signal_observers",
        "cosmo_neuron_wrappers",
        "cosmo_dendrite_started",
        "cosmo_dendrite_stopping",
        "cosmo_error_info",
    }


@pytest.mark.parametrize("hook", SPECS)
def test_every_hook_has_a_test_with_its_name(hook: str) -> None:
    assert re.search(rf"^(async )?def test_\w*{hook}\w*\(", TESTS, re.MULTILINE)


@pytest.mark.parametrize("hook", SPECS)
def test_every_hook_has_a_method_with_its_arguments(hook: str) -> None:
    method = getattr(PluginManager, hook.removeprefix("cosmo_"))
    assert parameters(method) == ("self", *parameters(SPECS[hook]))


@pytest.mark.parametrize("hook", SPECS)
def test_every_specification_documents_its_hook(hook: str) -> None:
    manual = inspect.getdoc(SPECS[hook]) or ""
    assert re.search(r"^Called (once|twice|when)", manual, re.MULTILINE)
    assert re.search(r"^If (it|the hook) raises", manual, re.MULTILINE)
    assert "Returns:" in manual or hook.startswith("cosmo_dendrite_")
    for parameter in parameters(SPECS[hook]):
        assert f"    {parameter}: " in manual


def test_plugin_system_is_imported_on_use() -> None:
    program = (
        "import sys, cosmo_core; sys.exit('pluggy' in sys.modules or 'cosmo_core.plugins' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603
