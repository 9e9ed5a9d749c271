"""How the properties are tried."""

from __future__ import annotations

from hypothesis import settings

# On a busy machine an example may take long, and that says nothing.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")
