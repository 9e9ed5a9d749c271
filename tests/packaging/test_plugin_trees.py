"""Every plugin is a distribution that a stranger could have published."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import importlib_metadata
from packaging.requirements import Requirement
from packaging.version import Version


def _core_version(checkout: Path) -> Version:
    return Version(tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def test_a_plugins_folder_is_named_as_its_distribution(plugin: Path, project: dict[str, Any]) -> None:
    assert project["name"] == plugin.name


def test_a_plugin_has_a_readme_a_licence_and_tests_of_its_own(plugin: Path, project: dict[str, Any]) -> None:
    assert (plugin / project["readme"]).read_text("utf-8").startswith(f"# {plugin.name}\n")
    assert (plugin / "LICENSE").read_bytes() == (plugin.parents[1] / "LICENSE").read_bytes()
    assert project["license-files"] == ["LICENSE"]
    assert list(plugin.glob("tests/**/test_*.py"))


def test_a_plugin_is_one_typed_package(plugin: Path) -> None:
    (package,) = [path for path in (plugin / "src").iterdir() if path.name.isidentifier()]
    assert (package / "py.typed").read_bytes() == b""


def test_a_plugin_takes_this_core_but_not_the_next_minor_version(
    checkout: Path, project: dict[str, Any]
) -> None:
    requirements = [Requirement(text) for text in project["dependencies"]]
    (core,) = [requirement for requirement in requirements if requirement.name == "cosmo-core"]
    version = _core_version(checkout)
    assert version in core.specifier
    assert Version(f"{version.major}.{version.minor + 1}") not in core.specifier


def test_a_plugins_entry_points_are_installed_as_declared_and_resolve(
    plugin: Path, project: dict[str, Any]
) -> None:
    installed = importlib_metadata.distribution(plugin.name).entry_points
    assert {
        group: {point.name: point.value for point in installed.select(group=group)}
        for group in installed.groups
    } == (project.get("entry-points", {}))
    for point in installed:
        assert callable(point.load())


def test_the_core_has_an_extra_for_a_plugin(checkout: Path, plugin: Path) -> None:
    table = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {Requirement(text).name for texts in table["optional-dependencies"].values() for text in texts}
    assert plugin.name in extras
