"""Settings of Hypothesis for all tests in this folder."""

from __future__ import annotations

from hypothesis import settings

# On a busy machine an example may take long; that is not a failure.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")
