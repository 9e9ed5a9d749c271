"""What `nox -s smoke` and `nox -s build` go by: a use of every extra, and checks that find what is wrong."""

from __future__ import annotations

import io
import runpy
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

Script = Mapping[str, Any]

WHEEL = {
    "cosmo_a/__init__.py": "",
    "cosmo_a/py.typed": "",
    "cosmo_a-1.dist-info/METADATA": "",
    "cosmo_a-1.dist-info/licenses/LICENSE": "",
}
SDIST = {
    **dict.fromkeys(("PKG-INFO", "README.md", "LICENSE", "pyproject.toml", ".gitignore"), ""),
    "src/cosmo_a/__init__.py": "",
    "tests/test_a.py": "",
}


@pytest.fixture
def script(checkout: Path) -> Callable[[str], Script]:
    """Give the names that a script of this folder defines."""
    return lambda name: runpy.run_path(str(checkout / "tests" / "packaging" / f"{name}.py"))


# --- uses ---------------------------------------------------------------------------------------------


def test_every_extra_of_the_core_is_put_to_use(checkout: Path, script: Callable[[str], Script]) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert script("smoke")["USES"].keys() >= project["optional-dependencies"].keys()


def test_an_extra_whose_use_is_unknown_fails_and_says_where_to_add_one(
    script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("smoke")["main"](["telepathy"]) == 1
    assert capsys.readouterr().out == "telepathy: no use of it is known; add one to USES in smoke.py\n"


def test_a_use_that_gives_something_else_fails(
    script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    async def mumble() -> str:
        return "hell"

    smoke = script("smoke")
    smoke["USES"]["memory"] = mumble
    assert smoke["main"](["memory"]) == 1
    assert capsys.readouterr().out == "memory: hell\n"


# --- what came along ----------------------------------------------------------------------------------


def install(site: Path, name: str, *requires: str, extras: Iterable[str] = ()) -> None:
    """Leave the metadata of a distribution, as an installer does."""
    folder = site / f"{name.replace('-', '_')}-1.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {text}" for text in requires]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where a core with one extra is installed, and what that brings."""
    install(tmp_path, "cosmo-core", "attrs>=25", 'Cosmo_A; extra == "a"', 'x; extra == "b"', extras="ab")
    install(tmp_path, "cosmo-a", "cosmo-core", 'windows; sys_platform == "never"')
    install(tmp_path, "attrs")
    return tmp_path


def test_what_is_declared_and_nothing_else_is_as_it_should_be(
    site: Path, script: Callable[[str], Script]
) -> None:
    install(site, "pip")
    assert list(script("came_along")["faults"](str(site), "cosmo-core[a]")) == []


def test_what_came_along_undeclared_is_named(site: Path, script: Callable[[str], Script]) -> None:
    install(site, "left-pad")
    found = list(script("came_along")["faults"](str(site), "cosmo-core[a]"))
    assert found == ["left-pad came along, and nothing requires it"]
    alone = list(script("came_along")["faults"](str(site), "cosmo-core"))
    assert "cosmo-a came along, and nothing requires it" in alone


def test_what_was_declared_and_is_not_there_is_named(site: Path, script: Callable[[str], Script]) -> None:
    found = list(script("came_along")["faults"](str(site), "cosmo-core[a,b]"))
    assert found == ["x is required, and is not there"]


# --- modules ------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of this project, alone."""
    install(tmp_path, "cosmo-needy")
    folder = tmp_path / "cosmo_needy"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "plain.py", "inner/__init__.py", "inner/deep.py"):
        (folder / name).touch()
    (tmp_path / "cosmo_needy-1.dist-info" / "RECORD").write_text("cosmo_needy/py.typed,,\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    ours = list(distributions(path=[str(tmp_path)]))
    monkeypatch.setattr("importlib.metadata.distributions", lambda: ours)
    yield folder
    for name in [name for name in sys.modules if name.startswith("cosmo_needy")]:
        del sys.modules[name]


def test_every_module_is_imported(package: Path, script: Callable[[str], Script]) -> None:
    assert script("importable")["import_everything"]() == 3
    assert "cosmo_needy.inner.deep" in sys.modules


def test_a_module_that_needs_what_nobody_declared_is_found(
    package: Path, script: Callable[[str], Script]
) -> None:
    (package / "inner" / "deep.py").write_text("import left_pad\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="left_pad"):
        script("importable")["import_everything"]()


def test_a_module_may_need_what_is_known_to_be_optional_and_nothing_else(
    package: Path, script: Callable[[str], Script]
) -> None:
    said = "try:\n    import left_pad\nexcept ImportError as error:\n    raise ImportError('no') from error\n"
    (package / "inner" / "deep.py").write_text(said, encoding="utf-8")
    importable = script("importable")
    importable["OPTIONAL"]["cosmo_needy.inner"] = frozenset({"left_pad"})
    assert importable["import_everything"]() == 2
    (package / "inner" / "deep.py").write_text(said.replace("left_pad", "right_pad"), encoding="utf-8")
    with pytest.raises(ImportError, match="no"):
        importable["import_everything"]()


# --- wheels and sdists --------------------------------------------------------------------------------


def pack_wheel(folder: Path, files: Mapping[str, str]) -> Path:
    path = folder / "cosmo_a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def pack_sdist(folder: Path, files: Mapping[str, str]) -> Path:
    path = folder / "cosmo_a-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"cosmo_a-1/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def without(files: Mapping[str, str], name: str) -> dict[str, str]:
    return {each: text for each, text in files.items() if each != name}


def test_a_wheel_with_its_sdist_is_as_it_should_be(
    tmp_path: Path, script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    pack_wheel(tmp_path, WHEEL)
    pack_sdist(tmp_path, SDIST)
    assert script("check_dist")["main"](tmp_path) == 0
    assert "as it should be" in capsys.readouterr().out


def test_without_its_sdist_it_is_not_nor_is_a_folder_without_wheels(
    tmp_path: Path, script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("check_dist")["main"](tmp_path) == 1
    pack_wheel(tmp_path, WHEEL)
    assert script("check_dist")["main"](tmp_path) == 1
    assert "its sdist is missing" in capsys.readouterr().out


STRAY_IN_A_WHEEL = [
    (without(WHEEL, "cosmo_a/py.typed"), ["cosmo_a/py.typed is missing"]),
    (without(WHEEL, "cosmo_a-1.dist-info/licenses/LICENSE"), ["the licence is missing"]),
    ({**WHEEL, "cosmo_a/notes.txt": ""}, ["cosmo_a/notes.txt does not belong there"]),
    ({**WHEEL, "cosmo_a/x.py-tpl": ""}, ["cosmo_a/x.py-tpl does not belong there"]),
    (
        {**WHEEL, "cosmo_a/__pycache__/a.py": ""},
        ["cosmo_a/__pycache__/a.py does not belong there"],
    ),
    ({**WHEEL, "tests/a.py": "", "tests/py.typed": ""}, ["it holds cosmo_a, tests"]),
]


@pytest.mark.parametrize(("files", "faults"), STRAY_IN_A_WHEEL)
def test_what_is_wrong_with_a_wheel_is_found(
    tmp_path: Path, script: Callable[[str], Script], files: dict[str, str], faults: list[str]
) -> None:
    assert list(script("check_dist")["faults"](pack_wheel(tmp_path, files))) == faults


STRAY_IN_AN_SDIST = [
    (without(SDIST, "LICENSE"), ["LICENSE is missing"]),
    (without(SDIST, "src/cosmo_a/__init__.py"), ["it holds no code"]),
    ({**SDIST, "plugins/b/__init__.py": ""}, ["it holds plugins, src"]),
    ({**SDIST, "src/cosmo_a/a.pyc": ""}, ["cosmo_a/a.pyc does not belong there"]),
    ({**SDIST, ".hypothesis/x": ""}, ["it holds .hypothesis, src", ".hypothesis/x does not belong there"]),
]


@pytest.mark.parametrize(("files", "faults"), STRAY_IN_AN_SDIST)
def test_what_is_wrong_with_an_sdist_is_found(
    tmp_path: Path, script: Callable[[str], Script], files: dict[str, str], faults: list[str]
) -> None:
    assert list(script("check_dist")["sdist_faults"](pack_sdist(tmp_path, files))) == faults
