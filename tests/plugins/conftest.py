"""Fixtures: a folder of fake installed distributions, and stand-ins for the arguments of hooks."""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from cosmo_core.plugins import PluginManager

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cosmo_core.contracts.axon import Axon
    from cosmo_core.dendrite import Dendrite
    from cosmo_core.protocol.signal import Signal


class Site:
    """A site-packages folder of fake distributions, first on `sys.path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(
        self,
        distribution: str,
        version: str = "1.0",
        *,
        points: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        requires: Sequence[str] = (),
    ) -> Path:
        """Install a distribution.

        Args:
            distribution: Its name.
            version: Its version.
            points: Its entry points: ``"group:name"`` to ``"module:attribute"``.
            files: Its files: the path under the folder to the text.
            requires: Its requirements.

        Returns:
            Its dist-info folder.
        """
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        metadata = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(_entry_points(points or {}), encoding="utf-8")
        for name, text in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return info

    def manager(self, **environ: str) -> PluginManager:
        """Make a manager of only these distributions, with these switches."""
        return PluginManager.discover(path=[str(self.path)], environ=environ)


def _entry_points(points: Mapping[str, str]) -> str:
    sections: dict[str, list[str]] = defaultdict(list)
    for claim, value in points.items():
        group, _, name = claim.partition(":")
        sections[group].append(f"{name} = {value}")
    return "\n".join(f"[{group}]\n" + "\n".join(lines) for group, lines in sections.items())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def dendrite() -> Dendrite:
    return cast("Dendrite", object())


@pytest.fixture
def axon() -> Axon:
    return cast("Axon", object())


@pytest.fixture
def task() -> Signal:
    return cast("Signal", object())
