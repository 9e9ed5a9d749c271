"""The conformance kit for Engrams: what is required of one, and how it is checked."""
