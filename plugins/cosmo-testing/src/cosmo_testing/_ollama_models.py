"""The models of a stand-in for Ollama: names without weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from cosmo_testing._messages import RefusedError, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cosmo_testing._messages import Response

PULLED: Final = ("llama3",)
CREATED_AT: Final = "2025-01-01T00:00:00Z"

_DETAILS: Final = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1B",
    "quantization_level": "Q4_0",
}


class Models:
    """What was pulled.

    Args:
        names: A name without a tag means ``:latest``, as everywhere in Ollama.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [_tagged(name) for name in names]

    def need(self, body: dict[str, Any]) -> str:
        """The model that a request names.

        Raises:
            RefusedError: With 400 when it names none, with 404 when that was not pulled.
        """
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise RefusedError(400, "model is required")
        if _tagged(name) not in self._names:
            raise RefusedError(404, f"model '{name}' not found")
        return name

    def tags(self) -> Response:
        """Answer ``GET /api/tags``."""
        return json_response(200, {"models": [_listed(name) for name in self._names]})

    def show(self, body: dict[str, Any]) -> Response:
        """Answer ``POST /api/show``.

        Raises:
            RefusedError: There is no such model.
        """
        name = self.need(body)
        answer = {
            "modelfile": f"FROM {name}",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {"general.architecture": "llama"},
            "capabilities": ["completion", "tools", "vision"],
            "modified_at": CREATED_AT,
        }
        return json_response(200, answer)


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _listed(name: str) -> dict[str, Any]:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "name": name,
        "model": name,
        "modified_at": CREATED_AT,
        "size": 1 << 30,
        "digest": digest,
        "details": _DETAILS,
    }
