from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import UnknownPluginError
from cosmo_core.plugins.advice import FIRST_PARTY, NOUNS, unknown
from cosmo_core.plugins.entry_points import EXTENSION_GROUP, FACTORY_GROUPS

if TYPE_CHECKING:
    from tests.plugins.conftest import Site


def test_error_for_an_unknown_name_lists_installed_names_and_distributions(site: Site) -> None:
    site.install("acme-echo", "0.3", points={"cosmo.sources:echo": "acme_echo:make"})
    site.install("acme-many", points={"cosmo.sources:one": "m:a", "cosmo.sources:two": "m:b"})
    with pytest.raises(UnknownPluginError) as caught:
        site.manager().factory("cosmo.sources", "xyz")
    message = str(caught.value)
    assert message.startswith("no source named 'xyz' is installed")
    assert message.endswith("installed: echo (acme-echo 0.3), one (acme-many 1.0), two (acme-many 1.0)")


@pytest.mark.parametrize(
    ("group", "name", "folders"),
    [
        ("cosmo.sources", "huggingface", "./plugins/cosmo-llm ./plugins/cosmo-source-huggingface"),
        ("cosmo.sources", "hf", "./plugins/cosmo-llm ./plugins/cosmo-source-huggingface"),
        ("cosmo.sources", "ollama", "./plugins/cosmo-llm ./plugins/cosmo-source-ollama"),
        ("cosmo.sources", "flask", "./plugins/cosmo-llm ./plugins/cosmo-source-flask"),
        ("cosmo.sources", "wsgi", "./plugins/cosmo-llm ./plugins/cosmo-source-flask"),
        ("cosmo.sources", "asgi", "./plugins/cosmo-llm ./plugins/cosmo-source-flask"),
        ("cosmo.sources", "mcp", "./plugins/cosmo-llm ./plugins/cosmo-source-mcp"),
        ("cosmo.synapses", "memory", "./plugins/cosmo-synapse-memory"),
        ("cosmo.synapses", "zmq", "./plugins/cosmo-synapse-zmq"),
        ("cosmo.synapses", "zmq+ipc", "./plugins/cosmo-synapse-zmq"),
        ("cosmo.synapses", "nats", "./plugins/cosmo-synapse-nats"),
        ("cosmo.synapses", "tls", "./plugins/cosmo-synapse-nats"),
        ("cosmo.engrams", "sqlite", "./plugins/cosmo-engram-sqlite"),
        ("cosmo.engrams", "postgres", "./plugins/cosmo-engram-postgres"),
    ],
)
def test_unknown_first_party_name_gives_the_command_that_installs_it(
    site: Site, group: str, name: str, folders: str
) -> None:
    with pytest.raises(UnknownPluginError) as caught:
        site.manager().factory(group, name)
    assert f"; in a clone of the repository, run: pip install {folders}; " in str(caught.value)
    assert str(caught.value).endswith("installed: none")


def test_misspelt_installed_name_gets_a_suggestion(site: Site) -> None:
    site.install("acme-carrier", points={"cosmo.synapses:carrier": "acme_carrier:make"})
    with pytest.raises(UnknownPluginError, match="did you mean 'carrier'") as caught:
        site.manager().factory("cosmo.synapses", "carier")
    assert "pip install" not in str(caught.value)


def test_misspelt_first_party_name_gets_a_suggestion_and_its_install(site: Site) -> None:
    with pytest.raises(UnknownPluginError, match=r"did you mean 'huggingface'\? .*source-huggingface;"):
        site.manager().factory("cosmo.sources", "hugingface")


@pytest.mark.parametrize(
    ("group", "name", "noun"),
    [
        ("cosmo.sources", "Watson X", "source"),
        ("cosmo.synapses", "kafka+ssl", "Synapse"),
        ("cosmo.engrams", "redis", "Engram"),
        ("cosmo.context_neurons", "weather", "context Neuron"),
        ("cosmo.commands", "deploy", "command"),
    ],
)
def test_unknown_third_party_name_suggests_no_name_of_a_distribution(
    site: Site, group: str, name: str, noun: str
) -> None:
    # A stranger may publish any name that could be guessed.
    with pytest.raises(UnknownPluginError) as caught:
        site.manager().factory(group, name)
    assert str(caught.value) == (
        f"no {noun} named {name!r} is installed; install the distribution that provides it; installed: none"
    )


def test_every_factory_group_has_a_noun() -> None:
    assert set(NOUNS) == {*FACTORY_GROUPS, EXTENSION_GROUP}
    assert set(FIRST_PARTY) <= set(FACTORY_GROUPS)


@given(group=st.sampled_from(FACTORY_GROUPS), name=st.text(), others=st.dictionaries(st.text(), st.text()))
def test_error_for_any_unknown_name_repeats_the_name(group: str, name: str, others: dict[str, str]) -> None:
    assert repr(name) in unknown(group, name, others)
