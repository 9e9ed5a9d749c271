"""Embeddings: their stored form, and the cosine distance between two of them."""

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
    """Return the stored form of a vector: its direction in single precision, as sqlite-vec reads it.

    The vector is scaled to length 1. Its length does not matter for the cosine, and could exceed the range of
    single precision.
    """
    length = math.hypot(*vector)
    return array("f", [number / length for number in vector]).tobytes()


def add_vector_functions(connection: sqlite3.Connection) -> None:
    """Add ``vec_distance_cosine`` to a connection: from sqlite-vec if it can be loaded, else in Python."""
    if not _load_sqlite_vec(connection):
        connection.create_function("vec_distance_cosine", 2, cosine_distance, deterministic=True)


def _load_sqlite_vec(connection: sqlite3.Connection) -> bool:
    try:
        sqlite_vec = importlib.import_module("sqlite_vec")
    except ImportError:
        return False
    except OSError as error:
        # Such as too many open files.
        logger.info("sqlite-vec cannot be read (%s): comparing vectors in Python, which is slower", error)
        return False
    try:
        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        finally:
            connection.enable_load_extension(False)
    except (AttributeError, sqlite3.Error) as error:
        # Many Python builds cannot load SQLite extensions.
        logger.info("sqlite-vec cannot be loaded (%s): comparing vectors in Python, which is slower", error)
        return False
    return True


def cosine_distance(stored: bytes, wanted: bytes) -> float:
    """Return 1 minus the cosine of the angle between two `packed` vectors."""
    product: float = sum(map(mul, memoryview(stored).cast("f"), _unpacked(wanted)))
    return 1.0 - product


@lru_cache(maxsize=1)
def _unpacked(wanted: bytes) -> tuple[float, ...]:
    # Cached, since a query compares all entries with the same vector.
    return tuple(array("f", wanted))
