"""Sphinx's settings; `python -m sphinx -W docs docs/_build/html` builds the pages without a network."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extension"))

project = "adose"
author = "The adose developers"
project_copyright = "The adose developers; Apache-2.0"
version = release = installed("adose")
language = "en"
extensions = ["myst_parser", "generated", "equations"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "extension"]
html_theme = "furo"
html_title = "adose"
html_theme_options = {"announcement": "Research use only. Not for clinical decisions."}
html_copy_source = False
# A page says when it changed in its history, and is otherwise the same whenever it is built.
html_last_updated_fmt = None
