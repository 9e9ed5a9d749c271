from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmo_core.errors import UnknownPluginError
from cosmo_core.plugins.advice import FIRST_PARTY, KINDS, unknown
from cosmo_core.plugins.factories import FACTORY_GROUPS

if TYPE_CHECKING:
    from tests.plugins.conftest import Site


def test_an_unknown_name_lists_what_is_installed_and_who_brings_it(site: Site) -> None:
    site.install("acme-echo", "0.3", points={"cosmo.sources:echo": "acme_echo:make"})
    site.install("acme-many", points={"cosmo.sources:one": "m:a", "cosmo.sources:two": "m:b"})
    with pytest.raises(UnknownPluginError) as caught:
        site.manager().factory("cosmo.sources", "xyz")
    message = str(caught.value)
    assert message.startswith("no source named 'xyz' is installed")
    assert message.endswith("installed: echo (acme-echo 0.3), one (acme-many 1.0), two (acme-many 1.0)")


@pytest.mark.parametrize(
    ("group", "name", "extra"),
    [
        ("cosmo.sources", "huggingface", "huggingface"),
        ("cosmo.sources", "hf", "huggingface"),
        ("cosmo.sources", "ollama", "ollama"),
        ("cosmo.sources", "flask", "flask"),
        ("cosmo.sources", "wsgi", "flask"),
        ("cosmo.sources", "asgi", "flask"),
        ("cosmo.sources", "mcp", "mcp"),
        ("cosmo.synapses", "memory", "memory"),
        ("cosmo.synapses", "zmq", "zmq"),
        ("cosmo.synapses", "zmq+ipc", "zmq"),
        ("cosmo.synapses", "nats", "nats"),
        ("cosmo.synapses", "tls", "nats"),
        ("cosmo.engrams", "sqlite", "sqlite"),
        ("cosmo.engrams", "postgres", "postgres"),
    ],
)
def test_a_first_party_name_gives_the_exact_install(site: Site, group: str, name: str, extra: str) -> None:
    with pytest.raises(UnknownPluginError) as caught:
        site.manager().factory(group, name)
    assert f'pip install "cosmo-core[{extra}]"' in str(caught.value)
    assert str(caught.value).endswith("installed: none")


def test_a_misspelt_installed_name_is_corrected_without_an_install(site: Site) -> None:
    site.install("acme-carrier", points={"cosmo.synapses:carrier": "acme_carrier:make"})
    with pytest.raises(UnknownPluginError, match="did you mean 'carrier'") as caught:
        site.manager().factory("cosmo.synapses", "carier")
    assert "pip install" not in str(caught.value)


def test_a_misspelt_first_party_name_is_corrected_with_its_install(site: Site) -> None:
    with pytest.raises(UnknownPluginError, match=r"did you mean 'huggingface'\? .*cosmo-core\[huggingface\]"):
        site.manager().factory("cosmo.sources", "hugingface")


@pytest.mark.parametrize(
    ("group", "name", "guess"),
    [
        ("cosmo.sources", "Watson X", "cosmo-source-watson-x"),
        ("cosmo.synapses", "kafka+ssl", "cosmo-synapse-kafka-ssl"),
        ("cosmo.engrams", "redis", "cosmo-engram-redis"),
        ("cosmo.context_neurons", "weather", "cosmo-context-weather"),
        ("cosmo.commands", "deploy", "cosmo-command-deploy"),
    ],
)
def test_for_a_stranger_the_name_of_a_distribution_is_guessed_and_called_a_guess(
    site: Site, group: str, name: str, guess: str
) -> None:
    with pytest.raises(
        UnknownPluginError, match=rf"a guess, .*: pip install {guess} \(look at who publishes"
    ):
        site.manager().factory(group, name)


def test_every_factory_group_has_its_words() -> None:
    assert set(KINDS) == set(FACTORY_GROUPS)
    assert set(FIRST_PARTY) <= set(FACTORY_GROUPS)


@given(group=st.sampled_from(FACTORY_GROUPS), name=st.text(), others=st.dictionaries(st.text(), st.text()))
def test_any_name_at_all_gets_an_answer_that_repeats_it(
    group: str, name: str, others: dict[str, str]
) -> None:
    assert repr(name) in unknown(group, name, others)
