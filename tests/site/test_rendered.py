"""Every page is rendered as it was meant, and the site finds, shows and copies what readers need.

`nox -s docs` runs these tests after it has built the site into docs/_build. They look at the pages of that
build; pages of the repository that are not on the site are rendered here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt
from py_mini_racer import MiniRacer

CHECKOUT: Final = Path(__file__).parents[2]
DOCS: Final = CHECKOUT / "docs"
SITE: Final = DOCS / "_build"

MAX_CODE: Final = 110
"""The characters of code that fit into a page: `.content` of docs/_static/site.css is as wide."""

NARROW: Final = 372
"""The width of a page, in pixels, on a phone that is 400 pixels wide, with its frame."""

SMALLEST_TEXT: Final = 11.5
"""The smallest text of a picture, in pixels."""

MARKUP: Final = re.compile(
    r"``?|\*\*|\]\(|\]\[|:\w+:`|<!--|\.\. [\w-]+::|^:?\|| \| *:?-{3}|^#{1,6} |^[*-] |^>>> |:{3}|\{[\w-]+\}`",
    re.MULTILINE,
)
"""Markup that a reader must not see outside of code."""

PAGE: Final = """
const window = globalThis;
const document = {getElementById: () => null, addEventListener: () => {}};
const SPHINX_HIGHLIGHT_ENABLED = false;
const _ready = () => {};
const _ = (text) => text;
"""
"""What the search uses of a page, in JavaScript."""

PIPE: Final = re.compile(r"(?<!\\)\|")
MARKDOWN: Final = MarkdownIt("commonmark").enable("table")


def _sources(*patterns: str) -> list[Path]:
    found = {page for pattern in patterns for page in CHECKOUT.glob(pattern)}
    return sorted(page for page in found if "_build" not in page.relative_to(CHECKOUT).parts)


PAGES: Final = [
    page
    for page in _sources("docs/**/*.md")
    if page.parent == DOCS / "examples" or "examples" not in page.parts
]
"""The pages of the site."""

TEXTS: Final = _sources("*.md", "docs/**/*.md", "plugins/*/README.md", "plugins/*/src/**/*.md-tpl")
"""Every page of the repository, and the pages that `cosmo new` makes."""


def _name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


def _html(page: Path) -> Path:
    return SITE / page.relative_to(DOCS).with_suffix(".html")


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Fail if there is no site."""
    assert (SITE / "index.html").is_file(), "docs/_build has no site; `nox -s docs` builds it"


@cache
def _article(path: Path) -> Tag:
    # Most of a file is its tables of contents.
    text = path.read_text("utf-8").partition("<article")[1:]
    found = BeautifulSoup("".join(text).partition("</article>")[0], "html.parser").find("article")
    assert isinstance(found, Tag)
    return found


def _unparsed(page: Tag) -> list[str]:
    """Return the lines with markup that a reader sees outside of code and signatures."""
    page = copy(page)
    for code in page.select("code, pre, dt.sig, script, style, .field-list em, .field-list strong"):
        code.decompose()
    return [line for line in page.get_text().splitlines() if MARKUP.search(line.strip())]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_of_the_site_has_no_unparsed_markup(page: Path) -> None:
    assert _unparsed(_article(_html(page))) == []


@pytest.mark.parametrize("page", TEXTS, ids=_name)
def test_text_of_the_repository_has_no_unparsed_markup(page: Path) -> None:
    assert _unparsed(BeautifulSoup(MARKDOWN.render(page.read_text("utf-8")), "html.parser")) == []


def _table_faults(text: str) -> Iterator[str]:
    """Yield the rows that are in no table, and those that have more or fewer cells than their table."""
    lines = text.splitlines()
    tokens = MARKDOWN.parse(text)
    inside: set[int] = set()
    for token in tokens:
        if token.map is None:
            continue
        first, last = token.map
        if token.type in {"fence", "code_block"}:
            inside.update(range(first, last))
        elif token.type == "table_open":
            inside.update(range(first, last))
            cells = {number: len(PIPE.findall(lines[number].strip())) for number in range(first, last)}
            yield from (f"{number + 1}: {lines[number]}" for number in cells if cells[number] != cells[first])
    for number, line in enumerate(lines):
        if number not in inside and line.lstrip().startswith("|"):
            yield f"{number + 1}: {line}"


@pytest.mark.parametrize("page", TEXTS, ids=_name)
def test_tables_are_whole(page: Path) -> None:
    assert list(_table_faults(page.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["| 1 | 2 |", "", "| 3 | 4 |"], "5: | 3 | 4 |"),
        (["| 1 | `a|b` |"], "3: | 1 | `a|b` |"),
        (["| 1 |"], "3: | 1 |"),
    ],
    ids=["blank line", "unescaped pipe", "missing cell"],
)
def test_broken_table_is_found(rows: Sequence[str], fault: str) -> None:
    table = "\n".join(["| a | b |", "|---|---|", *rows])
    assert list(_table_faults(table)) == [fault]


@pytest.mark.parametrize("markup", ["[a](b c)", "**a", "| a | b |", "``a", "{py:obj}`a", "<!-- a"])
def test_unparsed_markup_is_found(markup: str) -> None:
    assert _unparsed(BeautifulSoup(f"<article><p>{markup}</p></article>", "html.parser")) != []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_code_fits_the_width_of_a_page(page: Path) -> None:
    article = _article(_html(page))
    code = article.select("div.highlight-python pre, div.highlight-json pre")
    lines = [line for block in code for line in block.get_text().splitlines()]
    # What a program prints is as wide as it is.
    sessions = article.select("div.highlight-console pre")
    lines += [line for block in sessions for line in block.get_text().splitlines() if line.startswith("$ ")]
    assert [line for line in lines if len(line) > MAX_CODE] == []


@pytest.mark.parametrize("picture", sorted((DOCS / "_static").glob("*.svg")), ids=lambda path: path.name)
def test_picture_is_readable_on_a_phone_and_in_the_dark(picture: Path) -> None:
    text = picture.read_text("utf-8")
    width = re.search(r'<svg[^>]* width="(\d+)"', text)
    assert width is not None
    assert int(width[1]) <= NARROW
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", text)]
    assert min(sizes) >= SMALLEST_TEXT
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_pictures_of_a_page_have_a_description(page: Path) -> None:
    assert [str(picture) for picture in _article(_html(page)).select("img") if not picture.get("alt")] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_loads_the_copy_button_and_the_names_of_columns(page: Path) -> None:
    text = _html(page).read_text("utf-8")
    assert "_static/copybutton.js" in text
    assert "_static/tables.js" in text
    assert "_static/site.css" in text


def test_index_has_no_requirements_of_kits() -> None:
    entries = _article(SITE / "genindex.html").select("table.genindextable a")
    names = [entry.get_text() for entry in entries]
    assert len(names) > 500
    assert [name for name in names if name.startswith("test_")] == []


@pytest.fixture(scope="session")
def search() -> Any:
    """Return a function that searches the built site, with the code that a browser runs."""
    browser = MiniRacer()
    browser.eval(PAGE)
    for script in ("base-stemmer.js", "english-stemmer.js", "language_data.js", "searchtools.js"):
        browser.eval((SITE / "_static" / script).read_text("utf-8"))
    browser.eval((SITE / "searchindex.js").read_text("utf-8"))

    def results(query: str) -> list[tuple[str, str]]:
        best_last = f"Search._performSearch(...Search._parseQuery({query!r}))"
        found = browser.execute(f"{best_last}.reverse().map(([page, name]) => [page, name])")
        return [(page, name) for page, name in found]

    return results


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("recall", "remembering"),
        ("engram", "remembering"),
        ("retry", "coordinating"),
        ("dispatch_and_wait", "reference/dendrite"),
        ("EngramBinding", "reference/engrams"),
    ],
)
def test_search_finds_the_page_first(search: Any, query: str, first: str) -> None:
    assert search(query)[0][0] == first


def test_search_finds_a_whole_name_before_parts_of_it(search: Any) -> None:
    names = [name for _, name in search("recall")]
    assert names.index("cosmo_core.Dendrite.recall") < names.index("cosmo_core.RecallResult")
