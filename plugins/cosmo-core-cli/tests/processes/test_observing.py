"""`cosmo neurons`, `cosmo watch`, `cosmo hub`, and shell completion of Neurons and capabilities."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes.conftest import Start


def test_neurons_and_engrams_are_listed(cosmo: Start, populated: str) -> None:
    status, lines, _ = cosmo("neurons", "--namespace", populated).end()
    rows = [line.split() for line in lines]
    assert status == 0
    assert rows[0] == ["NEURON", "CAPABILITIES", "VERSION", "LOAD", "REPLICAS"]
    assert ["chatter", "chat,", "small-talk", "-", "0", "1"] in rows
    assert ["notes", "context", "1"] in rows


TYPED = """
from typing import TypedDict

from cosmo_core import neuron


class Order(TypedDict):
    dish: str


@neuron(capabilities=["cook"], version="2")
async def cook(input: Order, context) -> dict:
    \"\"\"Cooks a dish.\"\"\"
    return {"response": input["dish"]}
"""


def test_one_neuron_is_described(cosmo: Start, tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    cosmo("run", "typed:cook").line()
    status, lines, _ = cosmo("neurons", "cook").end()
    text = "\n".join(lines)
    assert status == 0
    assert text.startswith("cook  capabilities: cook  version: 2\n\nCooks a dish.\n\ninput\n{\n")
    assert '"dish"' in text
    status, lines, _ = cosmo("neurons", "cook", "--json").end()
    described = json.loads("".join(lines))
    assert status == 0
    assert (described["neuron_id"], described["description"]) == ("cook", "Cooks a dish.")
    schema = json.dumps(described["input_schema"])
    assert '"dish"' in schema


def test_unknown_neuron_is_not_described(cosmo: Start, populated: str) -> None:
    status, lines, (error,) = cosmo("neurons", "nothing", "--namespace", populated).end()
    assert (status, lines) == (2, [])
    assert "no live Neuron 'nothing'" in error
    assert "greeter" in error


def test_empty_namespace_is_reported(cosmo: Start) -> None:
    status, (line,), _ = cosmo("neurons").end()
    assert status == 0
    assert line.startswith("namespace 'own-")
    assert line.endswith(" has no Neurons and no Engrams")


def test_watching_neurons_prints_every_change(cosmo: Start) -> None:
    looking = cosmo("neurons", "--watch", "--json")

    def replicas(population: dict[str, Any]) -> dict[str, int]:
        return {each["id"]: len(each["hosts"]) for each in population["neurons"]}

    assert replicas(json.loads(looking.line())) == {}
    one, two = (cosmo("run", "workers:greeter") for _ in range(2))
    for hosting in (one, two):
        hosting.line()
    while replicas(json.loads(looking.line())) != {"greeter": 2}:
        pass
    one.end(signal.SIGTERM)
    while replicas(json.loads(looking.line())) != {"greeter": 1}:
        pass
    assert looking.end(signal.SIGINT)[0] == 130


def test_watched_load_is_live(cosmo: Start) -> None:
    cosmo("run", "workers:never").line()
    looking = cosmo("neurons", "--watch", "--json")

    def wait_for(load: int) -> None:
        while [each["load"] for each in json.loads(looking.line())["neurons"]] != [load]:
            pass

    wait_for(0)
    asked = cosmo("dispatch", "--neuron", "never", "")
    # Hosts announce their load twice a minute; this is faster than the test's limit.
    wait_for(1)
    asked.end(signal.SIGINT)
    wait_for(0)


def test_arrival_of_a_program_is_not_shown_and_heartbeats_name_their_neuron(cosmo: Start) -> None:
    cosmo("run", "workers:never").line()
    looking = cosmo("watch")
    looking.error_line()
    asked = cosmo("dispatch", "--neuron", "never", "")
    lines = [looking.line().split() for _ in range(3)]
    assert [line[1:3] for line in lines] == [
        ["TASK", "never"],
        ["THOUGHT_DELTA", "never"],
        ["HEARTBEAT", "never"],
    ]
    asked.end(signal.SIGINT)


def test_running_trace_is_watched_until_its_final(cosmo: Start, populated: str) -> None:
    trace = "trc_01BX5ZZKBKACTAV9WEVGEMMV00"
    wanted = ([trace[-8:]], [trace, "--json"])
    looking = [cosmo("trace", "--namespace", populated, *given) for given in wanted]
    for each in looking:
        assert each.error_line().startswith("watching trace ")
    given = ("--namespace", populated, "--neuron", "worker", "hi", "--trace", trace, "--finalize")
    assert cosmo("dispatch", *given).end()[0] == 0
    status, lines, _ = looking[0].end()
    assert status == 0
    assert [line.strip("│├└─ ").split()[0] for line in lines] == [
        trace,
        "TASK",
        "THOUGHT_DELTA",
        "AGENT_OUTPUT",
        "FINAL",
    ]
    status, lines, _ = looking[1].end()
    (task,) = json.loads("".join(lines))["signals"]
    assert status == 0
    assert [each["type"] for each in task["children"]] == ["THOUGHT_DELTA", "AGENT_OUTPUT"]
    assert task["took_s"] >= 0.3


def test_watched_signals_are_a_valid_trace(cosmo: Start, populated: str) -> None:
    trace = "trc_01BX5ZZKBKACTAV9WEVGEMMVRZ"
    looking = cosmo("watch", "--namespace", populated, "--trace", trace, "--json")
    reading = cosmo("watch", "--namespace", populated, "--trace", trace, "--count", "4", "--payload")
    for each in (looking, reading):
        assert each.error_line().startswith("watching namespace populated at ")
    cosmo("dispatch", "--namespace", populated, "--neuron", "worker", "hi", "--trace", trace).end()
    dump = [looking.line() for _ in range(4)]
    types = ["TASK", "THOUGHT_DELTA", "THOUGHT_DELTA", "AGENT_OUTPUT"]
    assert [json.loads(line)["type"] for line in dump] == types
    checking = cosmo("validate", "-", "--trace", "--json")
    for line in dump:
        checking.write(line)
    status, lines, _ = checking.end()
    assert (status, json.loads("".join(lines))) == (0, {"signals": 4, "invalid": []})
    status, lines, _ = reading.end()
    assert status == 0
    assert [line.split()[1] for line in lines] == types
    assert lines[0].endswith('"input":{"prompt":"hi"},"deadline_ms":30000}')
    assert looking.end(signal.SIGINT) == (130, [], ["cosmo: interrupted"])


def test_closed_pipe_ends_the_command(cosmo: Start, populated: str) -> None:
    reader, writer = os.pipe()
    looking = cosmo("watch", "--namespace", populated, stdout=writer)
    os.close(writer)
    looking.error_line()
    os.close(reader)
    cosmo("dispatch", "--namespace", populated, "--neuron", "greeter", "hi").end()
    assert looking.end() == (141, [], [])


def test_neurons_and_capabilities_are_completed(cosmo: Start, populated: str) -> None:
    words = f"cosmo dispatch --namespace {populated} --neuron gr"
    assert completions(cosmo, words) == (0, ["plain,greeter"], [])
    words = words.replace("--neuron gr", "--capability sm")
    assert completions(cosmo, words) == (0, ["plain,small-talk"], [])


def completions(cosmo: Start, words: str) -> tuple[int, list[str], list[str]]:
    """Complete the sixth word, again and again until there is something to offer, as a user presses Tab.

    On a busy machine, the bus may not answer within the time that a completion takes at most: then it offers
    nothing, which is an empty line.
    """
    shell = {"_COSMO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    while not any((ended := cosmo(**shell).end())[1:]) or ended[1:] == ([""], []):
        pass
    return ended


def test_port_in_use_error_suggests_another_port(cosmo: Start, bus: str) -> None:
    status, lines, (error,) = cosmo("hub", bus).end()
    assert (status, lines) == (2, [])
    assert error.startswith(f"cosmo: cannot start a hub at {bus}: Address already in use")
    assert "another port" in error


def test_hub_prints_its_url_and_ends_on_sigterm(cosmo: Start) -> None:
    hub = cosmo("hub", "zmq://127.0.0.1:0", "--json")
    url = json.loads(hub.line())["url"]
    assert cosmo("neurons", "--synapse", url).end()[0] == 0
    assert hub.end(signal.SIGTERM) == (0, [], [])
