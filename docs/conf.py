"""How the documentation is built; it fetches nothing."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for directives.py and docstrings.py beside it

project = "trilby"
author = "The trilby authors"
copyright = "The trilby authors"
release = version = installed("trilby")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "directives",
    "docstrings",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"trilby {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # an attribute that autodoc finds as well is not described twice
napoleon_custom_sections = [("Returns", "params_style")]  # several named results
default_role = "code"
highlight_language = "none"  # a contract is text; its "or" and "from" are no keywords
