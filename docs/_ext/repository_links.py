"""Links between files of the repository: on the site they lead to the page that has the same text.

The pages and READMEs link as it is right in a checkout. What has no page on the site becomes its words; a
program of the examples can be downloaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

DOCS: Final = Path(__file__).parents[1]
REPOSITORY: Final = DOCS.parent

LINK: Final = re.compile(r"(?<!!)\[(?P<words>[^][]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")

PAGES: Final = (
    (re.compile(r"docs/(.+)\.md"), r"\1"),
    (re.compile(r"docs/examples"), "examples/README"),
    (re.compile(r"plugins/([\w-]+)(?:/README\.md)?"), r"reference/distributions/\1"),
    (re.compile(r"README\.md"), "index"),
    (re.compile(r"CONTRIBUTING\.md"), "project/contributing"),
    (re.compile(r"CHANGELOG\.md"), "project/changelog"),
    (re.compile(r"SECURITY\.md"), "project/security"),
)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Mend links when a page is read, and when a file is included in one."""
    app.connect("source-read", _mend_page)
    app.connect("include-read", _mend_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _mend_page(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = mended(content[0], DOCS / docname)


def _mend_included(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    content[0] = mended(content[0], DOCS / path)


def mended(text: str, file: Path) -> str:
    """Give the text of a file, its links as they are right on the site."""

    def mend(link: re.Match[str]) -> str:
        place = (file.parent / link["target"]).resolve()
        if not (place.is_relative_to(REPOSITORY) and place.exists()):
            return link[0]  # The build says that it leads nowhere.
        page = page_of(place.relative_to(REPOSITORY).as_posix())
        if page is not None:
            return f"[{link['words']}](/{page}.md{link['anchor'] or ''})"
        return link[0] if place.is_file() and place.is_relative_to(DOCS) else link["words"]

    return LINK.sub(mend, text)


def page_of(place: str) -> str | None:
    """Give the page that has the text of a file or folder of the repository, if there is one."""
    for pattern, page in PAGES:
        if found := pattern.fullmatch(place):
            name = found.expand(page)
            return name if (DOCS / f"{name}.md").is_file() else None
    return None
