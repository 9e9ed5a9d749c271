"""What an Engram says when it refuses, and what it must not say."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.contracts.engram import Query
from cosmo_core.errors import EngramError
from cosmo_testing.conformance.errors import UnmetError
from cosmo_testing.conformance.steps import need
from cosmo_testing.engrams.client import Client, refusal
from cosmo_testing.engrams.requirements import REQUIREMENTS
from cosmo_testing.engrams.store import Store, stored

if TYPE_CHECKING:
    from cosmo_testing.engrams.subject import EngramUnderTest

CONTENT: Final = "what-is-in-an-entry-is-nobodys-business"

_REFUSED: Final[tuple[tuple[str, dict[str, Any], str | None], ...]] = (
    ("add", {"id": "e"}, None),
    ("add", {}, "k"),
    ("upsert", {"id": "e"}, "new"),
    ("upsert", {"id": "f"}, "k"),
    ("merge", {}, "new"),
    ("delete", {"id": "f"}, "k"),
)


async def _errors(store: Store, client: Client) -> list[Exception]:
    """Return what an Engram raises when it refuses, and when it is closed."""
    for id, key in (("e", "k"), ("f", "l")):
        await client.write("add", {"id": id, "text": CONTENT}, key)
    errors = [await refusal(client.write(op, {**entry, "text": CONTENT}, key)) for op, entry, key in _REFUSED]
    await store.close(client)
    errors.append(await refusal(client.write("add", {"text": CONTENT})))
    errors.append(await refusal(client.recall(Query())))
    return [error for error in errors if error is not None]


@REQUIREMENTS.proves("engram:errors")
async def check_errors(under_test: EngramUnderTest) -> None:
    """Look at every error: at its type, whether it is recoverable, and what it tells about whom."""
    async with stored(under_test) as store:
        client = await store.open()
        engram_id = client.engram.engram_id
        errors = await _errors(store, client)
        need(
            len(errors) == len(_REFUSED) + 2, f"{len(_REFUSED) + 2} calls must fail; what failed is {errors}"
        )
        for number, error in enumerate(errors):
            need(isinstance(error, EngramError), f"{error!r} is no EngramError")
            need(engram_id in str(error), f"the Engram {engram_id!r} is not named in: {error}")
            need(CONTENT not in repr(error), "what is in an entry is in an error")
            # What is there does not change by itself; a closed Engram may be open again.
            recoverable = isinstance(error, EngramError) and error.recoverable
            need(recoverable == (number >= len(_REFUSED)), f"{error!r} has recoverable={recoverable}")


@REQUIREMENTS.proves("engram:secrets")
async def check_secrets(under_test: EngramUnderTest) -> None:
    """Look for secrets in an Engram's repr, open and closed, and in every error it raises."""
    async with stored(under_test) as store:
        client = await store.open()
        texts = [repr(client.engram), str(client.engram)]
        texts += ["".join(traceback.format_exception(error)) for error in await _errors(store, client)]
        texts.append(repr(client.engram))
        for number, secret in enumerate(under_test.secrets):
            if any(secret in text for text in texts):
                # Which one it is would be a secret in a log.
                raise UnmetError(f"secrets[{number}] is in its repr or in an error")
