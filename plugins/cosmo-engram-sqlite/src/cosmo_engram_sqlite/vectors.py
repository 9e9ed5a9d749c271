"""Embeddings: how they are kept, and how similar they are."""

from __future__ import annotations

import importlib
import logging
import math
import sqlite3
from array import array
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Final

logger: Final = logging.getLogger(__name__)


def packed(vector: Sequence[float]) -> bytes:
    """Return the direction of a vector as it is kept: in single precision, as sqlite-vec reads it.

    Its length says nothing about how similar it is to another, and could be too much for that precision.
    """
    length = math.hypot(*vector)
    return array("f", [number / length for number in vector]).tobytes()


def add_vector_functions(connection: sqlite3.Connection) -> None:
    """Give a connection ``vec_distance_cosine``: that of sqlite-vec if it can be had, else one in Python."""
    if not _load_sqlite_vec(connection):
        connection.create_function("vec_distance_cosine", 2, cosine_distance, deterministic=True)


def _load_sqlite_vec(connection: sqlite3.Connection) -> bool:
    try:
        sqlite_vec = importlib.import_module("sqlite_vec")
    except ImportError:
        return False
    try:
        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        finally:
            connection.enable_load_extension(False)
    except (AttributeError, sqlite3.Error) as error:
        # Many a Python is built without extensions of SQLite.
        logger.info("sqlite-vec cannot be loaded here (%s): vectors are compared in Python, slower", error)
        return False
    return True


def cosine_distance(kept: bytes, wanted: bytes) -> float:
    """Return 1 less the cosine of the angle between two vectors, as `packed` gives them."""
    product: float = sum(map(mul, memoryview(kept).cast("f"), _unpacked(wanted)))
    return 1.0 - product


@lru_cache(maxsize=1)
def _unpacked(wanted: bytes) -> tuple[float, ...]:
    # The same for every entry that a query looks at.
    return tuple(array("f", wanted))
