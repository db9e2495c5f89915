"""Sphinx configuration; warnings are errors in the build."""

project = "ebsdsg"
author = "the ebsdsg developers"
copyright = "2026, the ebsdsg developers"
release = "0.1.0"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ebsdsg"
html_static_path = []
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_mock_imports = []
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
# Words of shapes, such as "(n, classes)", are looked up as names and may be found twice.
suppress_warnings = ["myst.header", "ref.python"]
