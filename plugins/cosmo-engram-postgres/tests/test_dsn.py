"""The options of a DSN, and DSNs that cannot be used."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from cosmo_core.contracts.engram import Query
from cosmo_core.errors import EngramError
from cosmo_engram_postgres import PostgresEngram, from_url
from cosmo_engram_postgres.dsn import OPTIONS, VALUES, Dsn
from cosmo_engram_postgres.failures import failure
from cosmo_engram_postgres.testing import PostgresServer

if TYPE_CHECKING:
    # The types of the fixtures. A conftest cannot be imported.
    Start = Callable[..., PostgresServer]
    Open = Callable[..., Awaitable[PostgresEngram]]

SECRET = "s3cret"


async def refused(dsn: str) -> EngramError:
    """Check that connecting fails without showing the password; return the error."""
    engram = PostgresEngram(engram_id="ctx", dsn=dsn)
    with pytest.raises(EngramError) as caught:
        await engram.connect()
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(engram)
    return caught.value


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("sslmod=require", "did you mean sslmode?"),
        ("conect_timeout=3", "did you mean connect_timeout?"),
        ("tls=true", "use sslmode=require"),
        ("ssl=true", "use sslmode=require"),
        ("channel_binding=require", "leave it out, and use sslmode=verify-full"),
        ("work_mem=1MB", "options=-c name=value"),
        (f"passwrd={SECRET}", "did you mean password?"),
        ("schma=memory", "did you mean schema?"),
    ],
)
async def test_unknown_option_is_named_with_advice(option: str, advice: str) -> None:
    error = await refused(f"postgresql://me:{SECRET}@127.0.0.1/db?{option}")
    assert (error.code, error.recoverable) == ("ENGRAM_INVALID", False)
    assert repr(option.partition("=")[0]) in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:99999/db",
        f"postgresql://me:{SECRET}@127.0.0.1:5432,127.0.0.2:0/db",
        f"postgresql://me:{SECRET}@[::1]:65536/db",
        f"postgresql://me:{SECRET}@/db?host=127.0.0.1&port=99999",
        f"postgresql://me:{SECRET}@/db?host=127.0.0.1&port={SECRET}",
    ],
)
async def test_port_out_of_range_is_refused(dsn: str) -> None:
    error = await refused(dsn)
    assert error.code == "ENGRAM_INVALID"
    assert "1 to 65535" in str(error)


@pytest.mark.parametrize("option", ["user", "password", "port", "connect_timeout", "options"])
async def test_repeated_option_is_refused(option: str) -> None:
    value = "5" if option in {"port", "connect_timeout"} else SECRET
    error = await refused(f"postgresql://127.0.0.1/db?{option}={value}&sslmode=disable&{option}={value}")
    assert error.code == "ENGRAM_INVALID"
    assert f"its DSN has the option {option!r} twice: give it once" in str(error)


async def test_port_out_of_range_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "99999")
    error = await refused("postgresql://me@127.0.0.1/db")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "PG* environment is not valid" in str(error)


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=127.0.0.1 password={SECRET}",
        f"host=127.0.0.1 user=me password='{SECRET} {SECRET}' dbname=db",
        f"postgresql://me:x?{SECRET}@127.0.0.1/db",
        f"postgresql://me:x?{SECRET}=y@127.0.0.1/db",
        f"me:{SECRET}@127.0.0.1",
    ],
)
async def test_dsn_that_is_not_a_url_is_refused_without_quoting_it(dsn: str) -> None:
    error = await refused(dsn)
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "DSN" in str(error)


async def test_url_that_is_not_percent_encoded_is_refused_without_quoting_it() -> None:
    engram = from_url(f"postgresql://me:x?{SECRET}@127.0.0.1/db", engram_id="memory")
    with pytest.raises(EngramError) as caught:
        await engram.connect()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "DSN" in str(caught.value)


@pytest.mark.parametrize("option", ["sslcert", "sslcrl", "sslkey", "sslrootcert"])
async def test_missing_file_is_named(option: str, tmp_path: Path) -> None:
    path = tmp_path / "absent.pem"
    error = await refused(f"postgresql://me:{SECRET}@127.0.0.1/db?sslmode=require&{option}={path}")
    assert error.code == "ENGRAM_INVALID"
    assert f"the file {str(path)!r} of {option}" in str(error)


async def test_file_that_is_not_a_certificate_is_reported(trusted: PostgresServer, tmp_path: Path) -> None:
    path = tmp_path / "not.pem"
    path.write_text("not a certificate")
    error = await refused(f"{trusted.dsn}?sslmode=verify-full&sslrootcert={path}")
    assert error.code == "ENGRAM_UNAVAILABLE"
    assert "check sslmode and the certificates" in str(error)


async def test_missing_certificate_of_the_authority_is_reported(
    trusted: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    error = await refused(f"{trusted.dsn}?sslmode=verify-full")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "verify-full need sslrootcert=<file>" in str(error)


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        (f"sslmode={SECRET}", "sslmode in its DSN has an unknown value: known: disable, allow, prefer"),
        ("sslmode=requir", "did you mean require?"),
        ("sslmode=REQUIRE", "known: disable"),
        ("sslnegotiation=drect", "did you mean direct?"),
        ("target_session_attrs=primry", "did you mean primary?"),
        ("ssl_min_protocol_version=TLSv9", "did you mean TLSv1?"),
        ("gsslib=gss", "did you mean gssapi?"),
    ],
)
async def test_unknown_value_of_an_option_is_reported_with_advice(option: str, advice: str) -> None:
    error = await refused(f"postgresql://me:{SECRET}@127.0.0.1/db?{option}")
    assert (error.code, error.recoverable) == ("ENGRAM_INVALID", False)
    assert advice in str(error)


async def test_server_without_tls_is_reported(trusted: PostgresServer) -> None:
    error = await refused(f"{trusted.dsn}?sslmode=require")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "that the server uses TLS" in str(error)


@pytest.mark.parametrize(
    "options", ["-c%20nonsense=1", "-c%20work_mem=much", "-c", "-c%20work_mem", "work_mem=1MB"]
)
async def test_invalid_setting_of_the_server_is_reported(trusted: PostgresServer, options: str) -> None:
    error = await refused(f"{trusted.dsn}?options={options}")
    assert (error.code, error.recoverable) == ("ENGRAM_UNAVAILABLE", False)
    assert "check the options of the DSN" in str(error)


def test_setting_whose_name_a_newer_server_refuses_does_not_count_as_damage() -> None:
    error = failure("Engram 'ctx'", "PostgreSQL", asyncpg.InvalidNameError("-c a-b.c=1"))
    assert error.code == "ENGRAM_UNAVAILABLE"
    assert "check the options of the DSN" in str(error)


async def test_valid_options_are_used(trusted: PostgresServer, schema: str, open: Open) -> None:
    options = "connect_timeout=3&sslmode=prefer&options=-c%20work_mem%3D1MB&target_session_attrs=any"
    engram = await open(trusted, dsn=f"{trusted.dsn}?{options}", schema=schema)
    assert (await engram.recall(Query.parse({}))).found == []
    assert from_url(f"{trusted.dsn}?{options}&schema={schema}", engram_id="ctx") is not None


def test_connect_timeout_is_a_number_of_seconds() -> None:
    for text, seconds in (("3", 3.0), ("0", None)):
        dsn = Dsn.parse(f"postgres://h/db?connect_timeout={text}&user=u%40v", name="Engram 'ctx'")
        assert dsn == Dsn("postgres://h/db?user=u%40v", seconds)
    with pytest.raises(EngramError, match="number of seconds"):
        Dsn.parse("postgres://h/db?connect_timeout=3s", name="Engram 'ctx'")
    assert Dsn.parse(None, name="Engram 'ctx'") == Dsn(None)


def test_every_other_option_is_passed_to_the_driver(tmp_path: Path) -> None:
    passed = [option for option in OPTIONS if option != "connect_timeout"]
    values = {"port": "1", **{option: known[-1] for option, known in VALUES.items()}}
    query = "&".join(f"{option}={values.get(option, tmp_path)}" for option in passed)
    text = Dsn.parse(f"postgres://h/db?{query}", name="Engram 'ctx'").text or ""
    assert [part.partition("=")[0] for part in text.partition("?")[2].split("&")] == passed


async def test_outage_is_logged_in_one_line_per_retry(
    start: Start, open: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosmo_engram_postgres.calls.RETRY_S", 0.2)
    server = start(fsync=False)
    engram = await open(server)
    with caplog.at_level(logging.DEBUG):
        server.kill()
        with pytest.raises(EngramError, match="does not answer"):
            await engram.recall(Query.parse({}))
    assert "Failed to restore the pool connection floor" in caplog.text
    assert "Traceback" not in caplog.text
    assert len(caplog.text.splitlines()) == len(caplog.records)


def test_warnings_of_other_pools_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        Path("absent").read_bytes()
    except OSError:
        logging.getLogger("asyncpg.pool").warning("of another program", exc_info=True)
    assert "Traceback" in caplog.text
