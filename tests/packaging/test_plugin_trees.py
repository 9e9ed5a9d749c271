"""Every plugin in plugins/ is a complete distribution of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import importlib_metadata
from packaging.requirements import Requirement
from packaging.version import Version

BORROWED_NAMES: Final = {"cosmo-compat": {"cosmonapse", "orbiter"}}


def _packages(plugin: Path) -> list[Path]:
    return sorted(path for path in (plugin / "src").iterdir() if path.name.isidentifier())


def _core_version(checkout: Path) -> Version:
    return Version(tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def test_folder_of_a_plugin_has_the_name_of_its_distribution(plugin: Path, project: dict[str, Any]) -> None:
    assert project["name"] == plugin.name


def test_plugin_has_its_own_readme_licence_and_tests(plugin: Path, project: dict[str, Any]) -> None:
    assert (plugin / "README.md").read_text("utf-8").startswith(f"# {plugin.name}\n")
    assert (plugin / "LICENSE").read_bytes() == (plugin.parents[1] / "LICENSE").read_bytes()
    assert project["license-files"] == ["LICENSE"]
    assert list(plugin.glob("tests/**/test_*.py"))


def test_plugin_is_one_package_with_its_name_unless_it_provides_other_names(plugin: Path) -> None:
    own = {plugin.name.replace("-", "_")}
    assert {package.name for package in _packages(plugin)} == BORROWED_NAMES.get(plugin.name, own)


def test_every_package_of_a_plugin_is_typed_and_in_its_wheel(plugin: Path) -> None:
    packages = _packages(plugin)
    assert all((package / "py.typed").read_bytes() == b"" for package in packages)
    targets = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]
    assert targets["wheel"]["packages"] == [f"src/{package.name}" for package in packages]


def test_plugin_requires_this_minor_version_of_the_core(checkout: Path, project: dict[str, Any]) -> None:
    requirements = [Requirement(text) for text in project["dependencies"]]
    (core,) = [requirement for requirement in requirements if requirement.name == "cosmo-core"]
    version = _core_version(checkout)
    assert version in core.specifier
    assert Version(f"{version.major}.{version.minor + 1}") not in core.specifier


def test_entry_points_of_a_plugin_are_installed_as_declared_and_resolve(
    plugin: Path, project: dict[str, Any]
) -> None:
    installed = importlib_metadata.distribution(plugin.name).entry_points
    scripts = {"console_scripts": project["scripts"]} if "scripts" in project else {}
    assert {
        group: {point.name: point.value for point in installed.select(group=group)}
        for group in installed.groups
    } == project.get("entry-points", {}) | scripts
    for point in installed:
        assert callable(point.load())


def test_core_has_an_extra_for_every_plugin(checkout: Path, plugin: Path) -> None:
    table = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {Requirement(text).name for texts in table["optional-dependencies"].values() for text in texts}
    assert plugin.name in extras
