"""Every clause of the specification has a test; every mark and citation names an existing clause."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "protocol.md"
CLAUSE = re.compile(r"^- \*\*(P-\d+\.\d+)\*\* (.+?)(?=\n\n|\n- |\n#|\Z)", re.MULTILINE | re.DOTALL)
ID = re.compile(r"\bP-\d+\.\d+\b")
KEYWORDS = re.compile(r"\b(MUST|SHOULD|MAY)\b")

CLAUSES: list[tuple[str, str]] = CLAUSE.findall(PAGE.read_text("utf-8"))
IDS = {id for id, _ in CLAUSES}


def _is_mark(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.clause"


def _marks(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each marked test with the id of each clause that it proves."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in filter(_is_mark, node.decorator_list):
            assert isinstance(mark, ast.Call)
            assert node.name.startswith("test_"), f"{node.name} is not a test"
            for argument in mark.args:
                assert isinstance(argument, ast.Constant), f"{node.name}: write the id of the clause out"
                yield node.name, str(argument.value)


def _proofs() -> dict[str, list[str]]:
    proofs: dict[str, list[str]] = defaultdict(list)
    for source in sorted(
        [*CHECKOUT.glob("tests/**/test_*.py"), *CHECKOUT.glob("plugins/*/tests/**/test_*.py")]
    ):
        tree = ast.parse(source.read_text("utf-8"))
        marks = list(_marks(tree))
        for name, id in marks:
            proofs[id].append(f"{source.relative_to(CHECKOUT)}::{name}")
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_mark(node)]
        assert sum(len(call.args) for call in used) == len(marks), f"{source}: a mark outside of a test"
    return proofs


PROOFS = _proofs()


def test_clauses_are_numbered_in_order() -> None:
    numbers = [tuple(map(int, id.removeprefix("P-").split("."))) for id, _ in CLAUSES]
    assert numbers[0] == (1, 1)
    for before, after in pairwise(numbers):
        assert after in {(before[0], before[1] + 1), (before[0] + 1, 1)}


def test_every_clause_id_at_a_line_start_begins_a_clause() -> None:
    assert len(re.findall(r"^[-* ]*\*\*P-", PAGE.read_text("utf-8"), re.MULTILINE)) == len(CLAUSES)


def test_section_numbers_match_their_clauses() -> None:
    for section in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        assert {id.partition(".")[0] for id, _ in CLAUSE.findall(section)} == {f"P-{section.split()[0]}"}


@pytest.mark.parametrize(("id", "text"), CLAUSES, ids=[id for id, _ in CLAUSES])
def test_clause_is_normative_and_has_a_test(id: str, text: str) -> None:
    assert KEYWORDS.search(text)
    assert PROOFS.get(id), f"no test proves {id}"


def test_every_mark_names_an_existing_clause() -> None:
    assert {id: tests for id, tests in PROOFS.items() if id not in IDS} == {}


@pytest.mark.parametrize("where", ["cosmo_core/**/*.py", "docs/**/*.md", "plugins/*/src/**/*.py"])
def test_every_citation_names_an_existing_clause(where: str) -> None:
    cited = {
        f"{source.relative_to(CHECKOUT)}: {id}"
        for source in CHECKOUT.glob(where)
        for id in ID.findall(source.read_text("utf-8"))
        if id not in IDS
    }
    assert not cited
