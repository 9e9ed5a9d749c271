"""The Sphinx configuration of the documentation. ``nox -s docs`` builds it without network access."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "cosmo"
author = "the cosmo authors"
project_copyright = f"{author}, Apache 2.0"
version = release = version_of("cosmo-core")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "index_entries",
    "prose",
    "public_names",
    "repository_links",
]
# The READMEs of the example distributions are not pages of the site.
exclude_patterns = ["_build", "examples/*/*"]

nitpicky = True
nitpick_ignore = [("py:class", "DataclassInstance")]  # exists for type checkers only
# A single backtick is a link to a name, or code if the name has no page.
default_role = "py:obj"

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
maximum_signature_line_length = 90

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"cosmo {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_search_scorer = str(Path(__file__).parent / "_ext" / "scorer.js")
html_copy_source = False
html_show_sphinx = False

# A copy of a shell session or of an interpreter session has only what was typed.
copybutton_prompt_text = r">>> |\.\.\. |\w*\$ +"
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"
