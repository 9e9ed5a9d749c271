"""The scripts of this folder know every extra and find what is wrong with wheels and environments."""

from __future__ import annotations

import io
import json
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
    """Return the names that a script of this folder defines."""
    return lambda name: runpy.run_path(str(checkout / "tests" / "packaging" / f"{name}.py"))


# --- uses ---------------------------------------------------------------------------------------------


def test_smoke_has_a_use_for_every_extra_of_the_core(checkout: Path, script: Callable[[str], Script]) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert script("smoke")["USES"].keys() >= project["optional-dependencies"].keys()


def test_smoke_fails_for_an_unknown_extra_and_names_the_file_to_change(
    script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("smoke")["main"](["telepathy"]) == 1
    assert capsys.readouterr().out == "telepathy: no use is known; add one to USES in smoke.py\n"


def test_smoke_fails_for_a_wrong_result(
    script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    async def mumble() -> str:
        return "hell"

    smoke = script("smoke")
    smoke["USES"]["memory"] = mumble
    assert smoke["main"](["memory"]) == 1
    assert capsys.readouterr().out == "memory: hell\n"


# --- what came along ----------------------------------------------------------------------------------


def install(
    site: Path, name: str, *requires: str, extras: Iterable[str] = (), origin: str = "file:///x"
) -> None:
    """Write the metadata of a distribution, as an installer does."""
    folder = site / f"{name.replace('-', '_')}-1.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {text}" for text in requires]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if origin:
        (folder / "direct_url.json").write_text(json.dumps({"url": origin}), encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed core, one of its extras, and the requirements of both."""
    install(tmp_path, "cosmo-core", "attrs>=25", 'Cosmo_A; extra == "a"', 'x; extra == "b"', extras="ab")
    install(tmp_path, "cosmo-a", "cosmo-core", 'windows; sys_platform == "never"')
    install(tmp_path, "attrs")
    return tmp_path


def test_came_along_accepts_what_is_declared(site: Path, script: Callable[[str], Script]) -> None:
    install(site, "pip")
    assert list(script("came_along")["faults"](str(site), "cosmo-core[a]")) == []


def test_came_along_names_what_is_not_declared(site: Path, script: Callable[[str], Script]) -> None:
    install(site, "left-pad")
    found = list(script("came_along")["faults"](str(site), "cosmo-core[a]"))
    assert found == ["left-pad is installed, but nothing requires it"]
    alone = list(script("came_along")["faults"](str(site), "cosmo-core"))
    assert "cosmo-a is installed, but nothing requires it" in alone


def test_came_along_names_what_is_not_installed(site: Path, script: Callable[[str], Script]) -> None:
    found = list(script("came_along")["faults"](str(site), "cosmo-core[a,b]"))
    assert found == ["x is required, but not installed"]


def test_came_along_names_what_is_from_an_index(site: Path, script: Callable[[str], Script]) -> None:
    install(site, "cosmo-b", "cosmo-core[a]", origin="")
    install(site, "cosmo-c", "cosmo-b", origin="https://index/cosmo_c-1-py3-none-any.whl")
    found = list(script("came_along")["faults"](str(site), "cosmo-c"))
    assert sorted(found) == ["cosmo-b 1 is from a package index", "cosmo-c 1 is from a package index"]


# --- modules ------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of this project, and no other."""
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


def test_importable_imports_every_module(package: Path, script: Callable[[str], Script]) -> None:
    assert script("importable")["import_everything"]() == 3
    assert "cosmo_needy.inner.deep" in sys.modules


def test_importable_fails_for_an_undeclared_import(package: Path, script: Callable[[str], Script]) -> None:
    (package / "inner" / "deep.py").write_text("import left_pad\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="left_pad"):
        script("importable")["import_everything"]()


def test_importable_accepts_known_optional_imports_only(
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


def test_check_dist_accepts_a_wheel_with_its_sdist(
    tmp_path: Path, script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    pack_wheel(tmp_path, WHEEL)
    pack_sdist(tmp_path, SDIST)
    assert script("check_dist")["main"](tmp_path) == 0
    assert "ok" in capsys.readouterr().out


def test_check_dist_fails_without_wheels_and_without_the_sdist(
    tmp_path: Path, script: Callable[[str], Script], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("check_dist")["main"](tmp_path) == 1
    pack_wheel(tmp_path, WHEEL)
    assert script("check_dist")["main"](tmp_path) == 1
    assert "its sdist is missing" in capsys.readouterr().out


STRAY_IN_A_WHEEL = [
    (without(WHEEL, "cosmo_a/py.typed"), ["cosmo_a/py.typed is missing"]),
    (without(WHEEL, "cosmo_a-1.dist-info/licenses/LICENSE"), ["the licence is missing"]),
    ({**WHEEL, "cosmo_a/notes.txt": ""}, ["cosmo_a/notes.txt is a stray file"]),
    ({**WHEEL, "cosmo_a/x.py-tpl": ""}, ["cosmo_a/x.py-tpl is a stray file"]),
    (
        {**WHEEL, "cosmo_a/__pycache__/a.py": ""},
        ["cosmo_a/__pycache__/a.py is a stray file"],
    ),
    (
        {**WHEEL, "cosmo_a-1.dist-info/METADATA": "[a](../b.md) [c](#c) [d](https://d.example) `e[f](g)`"},
        ["its README links to ../b.md, which is not in the wheel"],
    ),
    ({**WHEEL, "tests/a.py": "", "tests/py.typed": ""}, ["it contains cosmo_a, tests"]),
]


@pytest.mark.parametrize(("files", "faults"), STRAY_IN_A_WHEEL)
def test_check_dist_finds_what_is_wrong_with_a_wheel(
    tmp_path: Path, script: Callable[[str], Script], files: dict[str, str], faults: list[str]
) -> None:
    assert list(script("check_dist")["faults"](pack_wheel(tmp_path, files))) == faults


STRAY_IN_AN_SDIST = [
    (without(SDIST, "LICENSE"), ["LICENSE is missing"]),
    (without(SDIST, "src/cosmo_a/__init__.py"), ["it contains no code"]),
    ({**SDIST, "plugins/b/__init__.py": ""}, ["it contains plugins, src"]),
    ({**SDIST, "src/cosmo_a/a.pyc": ""}, ["cosmo_a/a.pyc is a stray file"]),
    ({**SDIST, ".hypothesis/x": ""}, ["it contains .hypothesis, src", ".hypothesis/x is a stray file"]),
]


@pytest.mark.parametrize(("files", "faults"), STRAY_IN_AN_SDIST)
def test_check_dist_finds_what_is_wrong_with_an_sdist(
    tmp_path: Path, script: Callable[[str], Script], files: dict[str, str], faults: list[str]
) -> None:
    assert list(script("check_dist")["sdist_faults"](pack_sdist(tmp_path, files))) == faults
