"""The conformance kit for sources: what is required of one, how it is checked, providers to check against."""
