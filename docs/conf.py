"""Sphinx: `make docs` builds the site into build/docs, with warnings as errors."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import prune_env

project = "prune_env"
author = "The prune_env authors"
copyright = author  # Sphinx asks for this name
release = prune_env.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "environment_pages",
]
exclude_patterns = ["_extensions"]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_use_ivar = True
default_role = "code"  # `name` in a docstring is code, as in Markdown
html_theme = "furo"
html_title = "prune_env"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = "$ "


def escape_bars(app, what, name, obj, options, lines):
    """|g| is an absolute value in our docstrings and a substitution in reStructuredText."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``|`.*?`)", line)
        lines[i] = "".join(p if p.startswith("`") else p.replace("|", r"\|") for p in parts)


def setup(app):
    """Connect what is ours."""
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
