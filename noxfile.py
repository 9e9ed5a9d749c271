"""The project's commands, for developers and for CI: `nox -l` lists them.

`nox -s tests` checks everything, one session after another; with `-j 3`, three run at a time. Most sessions
share one environment, which `shared` makes.
"""

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

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]
nox.options.allow_parallel = True

CORE = nox.project.load_toml("pyproject.toml")
PLUGINS: dict[str, dict[str, Any]] = {
    path.parent.name: nox.project.load_toml(path)
    for path in sorted(Path("plugins").glob("cosmo-*/pyproject.toml"))
}
AIMOCK = "@copilotkit/aimock@1.43.0"
"""The mock provider of npm for `live`."""
WHEELS = Path("dist", "all.txt")
"""The wheels that `build` makes: each distribution with the path of its wheel."""

# Hypothesis computes its tables of Unicode once for all suites, and not in each folder.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(".hypothesis").resolve()))

# Modules are compiled once for each environment, and not in each process, also where the environment says so.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The plugins whose tests take longest come first: with `-j`, sessions start in this order.
LONGEST = {
    "cosmo-testing": 0,
    "cosmo-engram-postgres": 1,
    "cosmo-source-mcp": 2,
    "cosmo-synapse-nats": 3,
    "cosmo-core-cli": 4,
    "cosmo-synapse-zmq": 5,
    "cosmo-context": 6,
    "cosmo-source-huggingface": 7,
    "cosmo-engram-sqlite": 8,
}
ORDERED = sorted(PLUGINS, key=lambda name: LONGEST.get(name, len(LONGEST)))
CHECKS = ["suite", "faults", "short_soak", *(f"plugin({name})" for name in ORDERED), "types", "docs", "lint"]

# The tests of a class, or of a file, run in one process: they share fixtures that take long to make.
TWO_PROCESSES = ("-n", "2", "--dist", "loadscope")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the greeter: against HuggingFace's router with HF_TOKEN set, else against a local chat server."""
    install_from_checkout(session, "cosmo-compat", "cosmo-source-huggingface", "cosmo-source-mcp")
    greeter = ("python", "docs/examples/greeter.py")
    if os.environ.get("HF_TOKEN"):
        print("HF_TOKEN is set: asking HuggingFace's router", flush=True)
        session.run(*greeter, env={"COSMO_ENDPOINT": None})
        return
    with chat_server(session) as url:
        print(f"HF_TOKEN is not set: asking the local chat server at {url}", flush=True)
        session.run(*greeter, env={"COSMO_ENDPOINT": url})


@nox.session(
    venv_backend="none",
    requires=CHECKS,
)
def tests(session: nox.Session) -> None:
    """Run everything that CI runs: the suite, the faults, each plugin alone, types, docs and lint."""
    session.log("everything has passed")


@nox.session
def shared(session: nox.Session) -> None:
    """Make the environment that sessions share: everything editable, and what tests, types and docs need."""
    install_editable(session, "dev", "docs")


@nox.session
def build(session: nox.Session) -> None:
    """Build wheels and sdists of every distribution into dist/, and check what is in them."""
    session.install(*nox.project.dependency_groups(CORE, "build"))
    shutil.rmtree("dist", ignore_errors=True)
    for project in (".", *(f"plugins/{name}" for name in PLUGINS)):
        session.run("uv", "build", "--quiet", "--no-build-isolation", "--out-dir", "dist", project)
    session.run("python", "tests/packaging/check_dist.py", "dist")
    session.run("python", "tests/packaging/list_wheels.py", "dist")


@nox.session(venv_backend="none", requires=["shared", "build"])
def suite(session: nox.Session) -> None:
    """Run the tests in tests/; arguments after `--` replace that folder."""
    arguments = session.posargs or ["tests"]
    run_shared(
        session, "pytest", *TWO_PROCESSES, *arguments, env={"COSMO_DIST": str(WHEELS.parent.resolve())}
    )


# Alone: it measures how long a bus takes to answer and to recover.
@nox.session(venv_backend="none", requires=["shared"], allow_parallel=False)
def faults(session: nox.Session) -> None:
    """Kill, stop and flood every bus, across processes, and check what each one promises."""
    run_shared(session, "pytest", *TWO_PROCESSES, "tests/faults", *session.posargs)


@nox.session(venv_backend="none", requires=["shared"])
def soak(session: nox.Session) -> None:
    """Prove in full what the buses promise; with arguments, only soak: `-- --seconds 60 --bus zmq`.

    Every part of every bus is killed, suspended and restarted for ten minutes. Then servers and workers are
    killed below 20,000 durable TASKs, on one server and on a cluster, and 1,000 hostile clients use a hub.
    """
    run_shared(session, "python", "-X", "dev", "tests/soak/run.py", *session.posargs)
    if not session.posargs:
        run_shared(session, "python", "tests/soak/durable_nats.py")
        run_shared(session, "python", "tests/soak/durable_nats.py", "--cluster")
        run_shared(session, "python", "tests/soak/hostile_zmq.py")


@nox.session(venv_backend="none", requires=["shared"])
def short_soak(session: nox.Session) -> None:
    """Soak all buses for a minute together."""
    run_shared(session, "python", "-X", "dev", "tests/soak/run.py", "--seconds", "60", "--callers", "4")


@nox.session(requires=["build"])
@nox.parametrize("name", ORDERED, ids=ORDERED)
def plugin(session: nox.Session, name: str) -> None:
    """Test one plugin alone: its wheel, with nothing but what it and its tests require."""
    tools = nox.project.dependency_groups(CORE, "test")
    session.install("--constraint", str(WHEELS), name, "cosmo-testing", *test_group(name), *tools)
    session.run(
        "python", "tests/packaging/bytecode.py", str(shared_environment(session)), session.virtualenv.location
    )
    with session.chdir(f"plugins/{name}"):
        session.run("pytest", *session.posargs)


@nox.session(venv_backend="none", requires=["shared"])
def types(session: nox.Session) -> None:
    """Check the types of the core, the plugins and all tests."""
    sources = [f"plugins/{name}/src" for name in PLUGINS]
    path = {"MYPYPATH": os.pathsep.join(sources)}
    run_shared(session, "mypy", "noxfile.py", "cosmo_core", "docs/examples", "tests", *sources, env=path)
    # What users copy. With the same settings, so that mypy has the core and the plugins in its cache.
    programs = Path(session.create_tmp())
    run_shared(session, "python", "tests/docs/programs.py", str(programs))
    run_shared(session, "mypy", *map(str, programs.glob("*.py")), env=path)
    run_shared(session, "pyright", str(programs), *map(str, Path("docs/examples").glob("*.py")))
    # The cache has the core and the plugins, which were checked just now.
    options = ("--config-file", "../../pyproject.toml", "--cache-dir", "../../.mypy_cache")
    for name in PLUGINS:
        run_shared(session, "mypy", *options, "tests", folder=f"plugins/{name}")


@nox.session(venv_backend="none", requires=["shared"])
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build, where a warning is an error, and test what it shows."""
    run_shared(session, "sphinx-build", "-n", "-W", "--keep-going", "-q", "docs", "docs/_build")
    run_shared(session, "pytest", "tests/site", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, and which layer imports which."""
    session.install(*nox.project.dependency_groups(CORE, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(python=["3.12", "3.13"], download_python="never")
def pythons(session: nox.Session) -> None:
    """Run all tests on newer Pythons; one that is not installed is skipped."""
    install_editable(session, "dev")
    session.run("pytest", *TWO_PROCESSES, "tests", *session.posargs)
    for name in PLUGINS:
        with session.chdir(f"plugins/{name}"):
            session.run("pytest", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory, each figure against a baseline from the same run."""
    sources = ("cosmo-source-huggingface", "cosmo-source-mcp", "cosmo-source-ollama")
    buses = ("cosmo-synapse-memory", "cosmo-synapse-nats", "cosmo-synapse-zmq")
    stores = ("cosmo-engram-postgres", "cosmo-engram-sqlite")
    servers = (*test_group("cosmo-synapse-nats"), *test_group("cosmo-engram-postgres"))
    install_from_checkout(session, "cosmo-context", *buses, *stores, *sources, *servers)
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session
def rivals(session: nox.Session) -> None:
    """Measure other libraries beside ours, in one run; not part of CI."""
    buses = ("cosmo-synapse-memory", "cosmo-synapse-nats")
    rivals = nox.project.dependency_groups(CORE, "rivals")
    install_from_checkout(session, *buses, *test_group("cosmo-synapse-nats"), *rivals)
    session.run("python", "tests/bench/run.py", "--only", "rivals", *session.posargs)


@nox.session
def live_providers(session: nox.Session) -> None:
    """Install LiteLLM's proxy and two mock providers for `live`, in an environment of their own."""
    session.install(*nox.project.dependency_groups(CORE, "live-providers"))
    if shutil.which("npm"):
        session.run(
            "npm", "install", "--silent", "--prefix", session.virtualenv.location, AIMOCK, external=True
        )
    else:
        session.warn("npm is missing: the tests with aimock are skipped")


@nox.session(venv_backend="virtualenv", requires=["live_providers"])
def live(session: nox.Session) -> None:
    """Run the sources against real servers.

    Those of language models run against `transformers serve` with a tiny model made on the spot, LiteLLM's
    proxy and two mocks; that of MCP against the conformance suite of MCP, which npm installs.
    """
    # With pip, not uv: pip reads PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL and pip.conf, where a machine may name a
    # CPU build of PyTorch.
    session.install(*nox.project.dependency_groups(CORE, "live"), silent=False)
    sources = ("cosmo-source-huggingface", "cosmo-source-mcp", "cosmo-source-ollama")
    install_from_checkout(session, "cosmo-compat", *sources)
    session.install(*nox.project.dependency_groups(CORE, "test"))
    providers = session.cache_dir.parent.resolve() / "live_providers"
    env = {"COSMO_REQUIRE_LIVE": "1", "COSMO_LIVE_PROVIDERS": str(providers)}
    session.run("pytest", "tests/live", *session.posargs, env=env)


def install_editable(session: nox.Session, *groups: str) -> None:
    """Install everything editable, the tools of these groups, and what the tests of each plugin need."""
    editable = [argument for name in PLUGINS for argument in ("-e", f"./plugins/{name}")]
    tools = [*nox.project.dependency_groups(CORE, *groups), *chain.from_iterable(map(test_group, PLUGINS))]
    session.install("-e", ".", *editable, *(tool for tool in tools if not is_ours(tool)))


def run_shared(
    session: nox.Session, program: str, *arguments: str, env: dict[str, str] | None = None, folder: str = "."
) -> None:
    """Run a program of the environment that `shared` has made, in a folder."""
    environment = shared_environment(session)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", "")])
    with session.chdir(folder):
        session.run(
            str(scripts / program),
            *arguments,
            env={**(env or {}), "PATH": path, "VIRTUAL_ENV": str(environment)},
            external=True,
        )


def shared_environment(session: nox.Session) -> Path:
    """Return the folder of the environment that `shared` makes, which may not exist yet."""
    return session.cache_dir.parent.resolve() / "shared"


def install_from_checkout(session: nox.Session, *requirements: str) -> None:
    """Install the core, cosmo-testing and requirements; the project's own come from the checkout."""
    session.install(".", *located(("cosmo-testing", *requirements)))


def test_group(name: str) -> Sequence[str]:
    """Return what a plugin's own tests need beyond what the tests of every plugin need."""
    return nox.project.dependency_groups({"dependency-groups": {"test": []}, **PLUGINS[name]}, "test")


def is_ours(requirement: str) -> bool:
    """Report whether a requirement is a distribution of this project."""
    return Requirement(requirement).name in {"cosmo-core", *PLUGINS}


def located(requirements: Iterable[str]) -> list[str]:
    """Return requirements, with folders for the project's distributions and for those that they require."""
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
                session.error("the local chat server did not start; its error is above")
            yield url
        finally:
            server.terminate()
