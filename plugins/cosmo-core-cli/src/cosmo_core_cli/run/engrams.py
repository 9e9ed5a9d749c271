"""From what ``--engram`` says to the Engram that it means."""

from __future__ import annotations

from cosmo_core import Engram, engram_from_url
from cosmo_core_cli.failing import Mistake
from cosmo_core_cli.run.axons import engram_of
from cosmo_core_cli.run.loading import Target


def load_engram(text: str) -> Engram:
    """Return the Engram of ``URL,id`` or ``module:name``.

    Raises:
        Mistake: It is neither, or the module does not import, or has no such Engram.
        CosmoError: No plugin answers to the scheme, or it does not take the URL.
    """
    if "://" not in text:
        return engram_of(Target.parse(text).load(), text.rpartition(":")[2])
    url, comma, id = text.rpartition(",")
    if not comma or "/" in id:
        raise Mistake(f"{text!r} does not say how the Engram is called: write URL,id, as in sqlite://,ctx")
    try:
        return engram_from_url(url, engram_id=id)
    except (TypeError, ValueError) as error:
        raise Mistake(f"{url} makes no Engram: {error}") from error
