"""What JSON can carry, and what it cannot."""

from __future__ import annotations

import json


def check_json(value: object) -> None:
    """Accept what can be sent as JSON in UTF-8.

    Raises:
        ValueError: It is too deep, or holds something else, such as ``NaN`` or half a surrogate pair.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
