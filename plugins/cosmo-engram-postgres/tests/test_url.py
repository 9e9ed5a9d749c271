"""`from_url`, and the arguments of `PostgresEngram`."""

from __future__ import annotations

import pytest

from cosmo_core import engram_from_url
from cosmo_core.errors import EngramError, MalformedSignalError
from cosmo_engram_postgres import PostgresEngram, from_url
from cosmo_engram_postgres.schema import Schema


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_engram_from_url_finds_this_plugin(scheme: str) -> None:
    engram = engram_from_url(
        f"{scheme}://me:s3cret@db.example:5433/memory?schema=s&max_size=3", engram_id="ctx"
    )
    assert isinstance(engram, PostgresEngram)
    assert repr(engram) == "<PostgresEngram 'ctx' context at PostgreSQL at db.example:5433/memory>"


def test_options_come_from_the_url_or_from_keywords() -> None:
    engram = from_url("postgres://h/db?keeps_writes=7", engram_id="ctx", engram_kind="notes")
    assert engram.guarantees.keeps_writes == 7
    assert engram.engram_kind == "notes"
    assert from_url("postgres://h/db", engram_id="ctx", keeps_writes=8).guarantees.keeps_writes == 8


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        (None, "PostgreSQL as the PG* environment says"),
        ("postgres://", "PostgreSQL at the default address"),
        ("postgres://u:s3cret@one:1,two:2/db?password=s3cret", "PostgreSQL at one:1,two:2/db"),
        ("postgres://u:s3cret/x@h/db", "PostgreSQL as its DSN says"),
        ("postgres://u:s3cret@x@h/db", "PostgreSQL at h/db"),
        ("postgres://u:s3cret#x@h/db", "PostgreSQL as its DSN says"),
        ("host=h password=s3cret", "PostgreSQL as its DSN says"),
        ("postgres:u:s3cret", "PostgreSQL as its DSN says"),
        ("postgres://u:[s3cret@h/db", "PostgreSQL as its DSN says"),
    ],
)
def test_repr_names_the_database_without_the_password(dsn: str | None, place: str) -> None:
    assert repr(PostgresEngram(engram_id="ctx", dsn=dsn)) == f"<PostgresEngram 'ctx' context at {place}>"


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(EngramError, match="max_size in the URL"):
        from_url("postgres://h/db?max_size=many", engram_id="ctx")
    for option in ("max_size=2", "schema=s3cret"):
        name = option.partition("=")[0]
        with pytest.raises(EngramError, match=f"{name} in the URL .* given twice; give it once") as caught:
            from_url(f"postgres://u:s3cret@h/db?{option}&sslmode=disable&{option}", engram_id="ctx")
        assert caught.value.code == "ENGRAM_INVALID"
        assert "s3cret" not in str(caught.value)
    with pytest.raises(EngramError, match="not a valid database URL") as caught:
        from_url("postgres://u:s3cret\u2100x@h/db", engram_id="ctx")
    assert "s3cret" not in str(caught.value)
    for number in ("1_0", "0x1", "1.5", "nan", "", "true"):
        with pytest.raises(EngramError, match="keeps_writes in the URL of an Engram: a number is written as"):
            from_url(f"postgres://h/db?keeps_writes={number}", engram_id="ctx")
    with pytest.raises(TypeError, match="has no option 'max_sise'; did you mean max_size"):
        from_url("postgres://h/db", engram_id="ctx", max_sise=3)
    for name in ("min_size", "max_size", "keeps_writes", "vector_index"):
        for wrong in (-1, 2**53, 1.5, True, "5", float("nan")):
            with pytest.raises((TypeError, ValueError), match=f"{name} is an integer"):
                PostgresEngram(engram_id="ctx", **{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(MalformedSignalError):
        PostgresEngram(engram_id="two words")
    for options in (
        {"min_size": 2, "max_size": 1},
        {"max_size": 0},
        {"keeps_writes": 0},
        {"schema": "x" * 64},
    ):
        with pytest.raises(ValueError, match=r"min_size|max_size|keeps_writes|schema"):
            PostgresEngram(engram_id="ctx", **options)


def test_long_ids_have_different_schemas() -> None:
    names = {Schema.for_engram("x" * 63 + end).name for end in "ab"}
    assert len(names) == 2
    assert all(len(name) == 63 for name in names)
    assert Schema.for_engram("ctx").name == "engram_ctx"
