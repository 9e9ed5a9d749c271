"""`cosmo plugins`: the installed plugins and their faults."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Install, Invoke

from cosmo_core.plugins import PluginRecord, PluginReport
from cosmo_core_cli.plugins import table


def test_plugins_are_listed_without_importing_them(invoke: Invoke, install: Install) -> None:
    install("thirdparty", points="[cosmo.sources]\nbad = boom:make\n", boom="raise RuntimeError('boom')")
    shown = invoke("plugins")
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["cosmo.sources", "bad", "thirdparty", "1.0", "available"] in rows
    assert ["cosmo.commands", "hub", "cosmo-synapse-zmq", "0.1.0", "available"] in rows


def test_check_imports_every_plugin_and_reports_faults(invoke: Invoke, install: Install) -> None:
    install("thirdparty", points="[cosmo.sources]\nbad = boom:make\n", boom="raise RuntimeError('boom')")
    shown = invoke("plugins", "--check", "--json")
    assert shown.exit_code == 1
    assert shown.stderr == ""
    records = {(record["group"], record["name"]): record for record in json.loads(shown.stdout)}
    bad = records["cosmo.sources", "bad"]
    assert (bad["distribution"], bad["version"], bad["status"]) == ("thirdparty", "1.0", "failed")
    assert "RuntimeError: boom" in bad["cause"]
    others = [record["status"] for record in records.values() if record is not bad]
    assert set(others) == {"loaded"}


@pytest.mark.parametrize("group", ["cosmo.hooks", "cosmo.extensions"])
def test_broken_hook_or_extension_is_reported_on_one_line(
    invoke: Invoke, install: Install, group: str
) -> None:
    install("thirdparty", points=f"[{group}]\nbad = boom\n", boom="raise RuntimeError('boom')")
    shown = invoke("plugins", "--check")
    assert shown.exit_code == 1
    assert "RuntimeError: boom" in shown.stdout
    assert shown.stderr.startswith(
        f"cosmo: warning: a plugin of {group} is skipped: {group} 'bad' of thirdparty"
    )
    assert shown.stderr.count("\n") == 1


def test_working_plugins_pass_the_check(invoke: Invoke, install: Install) -> None:
    assert invoke("plugins", "--check").exit_code == 0


def test_malformed_plugin_switch_is_a_user_error(invoke: Invoke, install: Install) -> None:
    shown = invoke("plugins", env={"COSMO_PREFER_PLUGINS": "zmq"})
    assert shown.exit_code == 2
    assert shown.stderr.startswith("cosmo: COSMO_PREFER_PLUGINS has 'zmq'; write group:name=distribution")
    assert invoke("schema", env={"COSMO_PREFER_PLUGINS": "zmq"}).exit_code == 0


TABLE = """\
GROUP          NAME    DISTRIBUTION         VERSION  STATUS
cosmo.sources  ollama  cosmo-source-ollama  0.1.0    available
cosmo.hooks    audit   acme-audit           12       failed
    cannot be imported
    at all
cosmo.hooks    local   -                    -        loaded"""


def test_report_as_text_is_a_table_with_causes() -> None:
    report = PluginReport(
        (
            PluginRecord("cosmo.sources", "ollama", "cosmo-source-ollama", "0.1.0", "available"),
            PluginRecord("cosmo.hooks", "audit", "acme-audit", "12", "failed", "cannot be imported\nat all"),
            PluginRecord("cosmo.hooks", "local", None, None, "loaded"),
        )
    )
    assert table(report) == TABLE


def test_empty_report_says_so() -> None:
    assert table(PluginReport(())) == "no plugins"
