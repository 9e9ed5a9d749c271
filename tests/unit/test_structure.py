"""Objects that have what a contract asks for, themselves or through another object."""

from __future__ import annotations

from typing import Any

import pytest

from cosmo_core import Engram, Synapse
from cosmo_core.arguments import satisfies
from cosmo_core.contracts.synapse import DeadLetters, ThreadPublisher
from cosmo_engram_sqlite import SqliteEngram
from cosmo_synapse_memory import MemorySynapse


class Wrapper:
    """Passes every attribute on."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_wrapper_satisfies_what_its_inner_object_satisfies() -> None:
    for inner, contract in ((SqliteEngram(engram_id="ctx"), Engram), (MemorySynapse(), Synapse)):
        assert satisfies(inner, contract)
        assert satisfies(Wrapper(inner), contract)
        assert satisfies(Wrapper(Wrapper(inner)), contract)


@pytest.mark.parametrize("contract", [Engram, Synapse, DeadLetters, ThreadPublisher])
def test_object_that_lacks_an_attribute_does_not_satisfy(contract: Any) -> None:
    assert not satisfies(object(), contract)
    assert not satisfies(Wrapper(object()), contract)
