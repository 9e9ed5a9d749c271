"""Names of distributions, compared as packaging compares them."""

from __future__ import annotations

import re


def canonical(name: str) -> str:
    """Give the one spelling under which names such as ``Cosmo_Source.X`` and ``cosmo-source-x`` are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_name(requirement: str) -> str:
    """Give the distribution that a requirement such as ``httpx[http2]>=0.28`` asks for."""
    return canonical(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])
