"""A Sphinx extension that keeps the requirements of the conformance kits out of the general index.

Each requirement is a method ``test_…`` of a kit. It is on the page of its kit, where readers look for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sphinx.addnodes import index
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

REQUIREMENT: Final = "test_"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the transform."""
    app.add_transform(WithoutRequirements)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class WithoutRequirements(SphinxTransform):
    """Removes the entries of requirements, before Sphinx collects the entries of the page."""

    default_priority = 100

    def apply(self, **_: Any) -> None:
        """Change the entries of each object of the page."""
        for node in self.document.findall(index):
            node["entries"] = [entry for entry in node["entries"] if not entry[1].startswith(REQUIREMENT)]
