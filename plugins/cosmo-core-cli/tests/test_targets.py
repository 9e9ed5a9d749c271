"""The Axons and Engrams that the arguments of `cosmo run` name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmo_core import Axon
from cosmo_core_cli.run.hosting import Components
from cosmo_core_cli.run.targets import Target, watched_folders

MODULE = """
from cosmo_core import Axon
from cosmo_engram_sqlite import SqliteEngram

async def greeter(input, context):
    return {}

async def counter(input, context):
    yield "1"

def plain(input, context):
    return {}

class Model:
    async def __call__(self, input, context):
        return {}

class Made:
    model = Model()

model = Model()
axon = Axon(neuron_id="named", neuron_fn=greeter, capabilities=["chat"])
several = [axon, counter, Model()]

def make():
    return several

def make_one():
    return plain

ctx = SqliteEngram(engram_id="ctx")

def make_engram():
    return SqliteEngram(engram_id="made")
"""


@pytest.fixture(autouse=True)
def _modules(project: Path) -> None:
    (project / "workers.py").write_text(MODULE)
    package = project / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from .beside import greeter\n")
    (package / "beside.py").write_text("async def greeter(input, context): ...\n")


def axons(*targets: str) -> list[Axon]:
    return list(Components.load([Target.parse(target) for target in targets], []).axons)


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ("workers:axon", ["named"]),
        ("workers:greeter", ["greeter"]),
        ("workers.py:counter", ["counter"]),
        ("./workers.py:plain", ["plain"]),
        ("workers:model", ["model"]),
        ("workers:Made.model", ["model"]),
        ("workers:several", ["named", "counter", "several-2"]),
        ("workers:make", ["named", "counter", "make-2"]),
        ("workers:make_one", ["make_one"]),
        ("package.inner:greeter", ["greeter"]),
    ],
)
def test_target_names_axons(target: str, ids: list[str]) -> None:
    assert [axon.neuron_id for axon in axons(target)] == ids


def test_axon_is_hosted_unchanged() -> None:
    (axon,) = axons("workers:axon")
    assert axon.capabilities == ("chat",)


def test_file_in_another_folder_imports_its_siblings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "other.py").write_text("from workers import greeter\n")
    monkeypatch.chdir(project.parent)
    assert [axon.neuron_id for axon in axons("project/other.py:greeter")] == ["greeter"]


@pytest.mark.parametrize(
    ("text", "id"), [("workers:ctx", "ctx"), ("workers:make_engram", "made"), ("sqlite://,notes", "notes")]
)
def test_engram_is_an_object_or_a_url_with_an_id(text: str, id: str) -> None:
    (engram,) = Components.load([], [text]).engrams
    assert engram.engram_id == id


def test_watched_folders_are_found_without_importing_modules(project: Path) -> None:
    (project / "workers.py").write_text("raise RuntimeError\n")
    targets = ["workers:x", "package.inner:x", "workers.py:x", "cosmo_core.contracts.axon:Axon"]
    import cosmo_core

    installed = Path(cosmo_core.__file__).parent
    expected = {project, project / "package", installed}
    assert set(watched_folders([Target.parse(target) for target in targets])) == expected
