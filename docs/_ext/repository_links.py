"""A Sphinx extension that converts links between files of the repository to links between pages.

Pages and READMEs link to files as in a checkout. A link to a file without a page becomes plain text; example
programs can be downloaded.
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
    """Register the conversion for pages and included files."""
    app.connect("source-read", _convert_page)
    app.connect("include-read", _convert_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _convert_page(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = converted(content[0], DOCS / docname)


def _convert_included(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    content[0] = converted(content[0], DOCS / path)


def converted(text: str, file: Path) -> str:
    """Return the text of a file with links for the site."""

    def convert(link: re.Match[str]) -> str:
        place = (file.parent / link["target"]).resolve()
        if not (place.is_relative_to(REPOSITORY) and place.exists()):
            return link[0]  # The build reports the broken link.
        page = page_of(place.relative_to(REPOSITORY).as_posix())
        if page is not None:
            return f"[{link['words']}](/{page}.md{link['anchor'] or ''})"
        return link[0] if place.is_file() and place.is_relative_to(DOCS) else link["words"]

    return LINK.sub(convert, text)


def page_of(place: str) -> str | None:
    """Return the page with the text of a file or folder of the repository, or None."""
    for pattern, page in PAGES:
        if found := pattern.fullmatch(place):
            name = found.expand(page)
            return name if (DOCS / f"{name}.md").is_file() else None
    return None
