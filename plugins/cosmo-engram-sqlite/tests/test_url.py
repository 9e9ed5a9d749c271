"""`from_url`, and the arguments of `SqliteEngram`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmo_core import Engram, EngramError, MalformedSignalError, engram_from_url
from cosmo_engram_sqlite import SqliteEngram, from_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", ":memory:"),
        ("sqlite:///", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:///memory.db", "memory.db"),
        ("sqlite:///below/memory.db", "below/memory.db"),
        ("sqlite:////var/lib/memory.db", "/var/lib/memory.db"),
        ("sqlite:///with%20space%3F.db", "with space?.db"),
    ],
)
def test_url_gives_the_path(url: str, path: str) -> None:
    engram = from_url(url, engram_id="ctx")
    assert repr(engram) == f"<SqliteEngram 'ctx' context at {path}>"
    assert engram.guarantees.durable is (path != ":memory:")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://memory.db",
        "sqlite://me:secret@host/memory.db",
        "sqlite:///memory.db?mode=ro",
        "sqlite:///memory.db#secret",
        "sqlite:///a%00b",
        "postgres:///secret",
        "sqlite://[",
        "memory.db",
    ],
)
def test_other_url_is_refused_and_the_forms_are_listed(url: str) -> None:
    with pytest.raises(EngramError, match="write sqlite://") as caught:
        from_url(url, engram_id="ctx")
    assert caught.value.code == "ENGRAM_INVALID"
    assert "secret" not in str(caught.value)


def test_engram_from_url_finds_this_plugin() -> None:
    engram: Engram = engram_from_url("sqlite://", engram_id="ctx", engram_kind="notes", keeps_writes=5)
    assert isinstance(engram, SqliteEngram)
    assert (engram.engram_id, engram.engram_kind, engram.guarantees.keeps_writes) == ("ctx", "notes", 5)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        from_url("sqlite://", engram_id="ctx", colour="red")
    with pytest.raises(TypeError, match="has no option 'keep_writes'; did you mean keeps_writes"):
        engram_from_url("sqlite://", engram_id="ctx", keep_writes=5)
    for number in (0, -1, 2**53, 1.5, True, "5", float("nan")):
        with pytest.raises((TypeError, ValueError), match="keeps_writes is an integer"):
            SqliteEngram(engram_id="ctx", keeps_writes=number)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path must be a file"):
        SqliteEngram(engram_id="ctx", path="")
    with pytest.raises(MalformedSignalError, match="engram_id"):
        SqliteEngram(engram_id="no token")
    with pytest.raises(MalformedSignalError, match="engram_kind"):
        SqliteEngram(engram_id="ctx", engram_kind="no.token")


async def test_path_can_be_a_path_object(tmp_path: Path) -> None:
    engram = SqliteEngram(engram_id="ctx", path=tmp_path / "memory.db")
    await engram.connect()
    await engram.close()
    assert (tmp_path / "memory.db").stat().st_size > 0
