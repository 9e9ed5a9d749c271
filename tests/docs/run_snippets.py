"""Runs the given files in order and in one namespace, with top-level `await` as in `python -m asyncio`."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from typing import Any


def main(files: list[str]) -> None:
    """Run the files."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for file in files:
            source = Path(file).read_text("utf-8")
            if "hypothesis" in source:
                let_hypothesis_be_slow()
            # Without the `annotations` import of this file: annotations are evaluated, as in a shell.
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(source, file, "exec", flags=flags, dont_inherit=True)
            result = eval(code, namespace)  # noqa: S307 - the pages' own snippets
            if inspect.iscoroutine(result):
                runner.run(result)


def let_hypothesis_be_slow() -> None:
    """Keep Hypothesis from failing a snippet because the machine is busy."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


if __name__ == "__main__":
    main(sys.argv[1:])
