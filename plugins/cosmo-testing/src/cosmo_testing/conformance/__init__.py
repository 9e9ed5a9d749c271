"""What conformance kits are made of: requirements, what proves them, and the pytest class that tells.

A kit lists its `Requirements` and proves each with a check. It derives from `Subject` what an author says
about what is under test, and from `Conformance` the class that the author's tests derive from.
"""
