"""Runs an example with top-level `await`, as in the documentation, and prints its `prompt`.

The example is taken as it is; what it needs and does not make, `PromptBuilder` and `ctx`, is there already.
"""

from __future__ import annotations

import ast
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FunctionType
from typing import Any

from orbiter.context import Context, PromptBuilder


async def run(example: str) -> str:
    """Run the source of an example and return its prompt."""
    names: dict[str, Any] = {
        "PromptBuilder": PromptBuilder,
        "ctx": Context(
            "task-123",
            state={"task_input": "Pack for a walk", "weather": "light rain, 12 °C"},
            clock=lambda: datetime(2025, 1, 15, 14, 30, tzinfo=UTC),
        ),
    }
    code = compile(example, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    await FunctionType(code, names)()
    prompt: str = names["prompt"]
    return prompt


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(asyncio.run(run(Path(sys.argv[1]).read_text(encoding="utf-8"))))
