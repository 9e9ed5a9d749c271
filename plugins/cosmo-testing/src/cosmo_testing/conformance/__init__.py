"""The shared parts of all conformance kits.

`kit` has requirements, subjects and kits; `suite` the pytest class; `mutants` what a kit itself is tested
with. `steps`, `leftovers` and `properties` are for writing checks.
"""
