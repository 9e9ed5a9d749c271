"""Text that is fit to be shown: on one line, without secrets, and without a terminal's commands."""

from __future__ import annotations

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE)
_SECRET: Final = re.compile(
    r"(?P<name>\b\w*(?:password|passwd|secret|token|credential|api_?key)\w*=)[^\s&,;]+", re.IGNORECASE
)


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal would obey; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def redacted(text: str) -> str:
    """Return ``text`` without the user and password of URLs, and without what is assigned to secrets."""
    return _SECRET.sub(r"\g<name>…", _USERINFO.sub(r"\g<scheme>…@", text))


def one_line(text: str) -> str:
    """Return ``text`` on one line, printable and without secrets."""
    return printable(redacted(" ".join(text.split())))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
