"""Equations as MathML, which browsers show without a script or a font from elsewhere."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

# Fonts for mathematics of the usual systems by their names: by the generic name Chromium finds one without its
# measures, and accents in exponents vanish.
_FONTS = "Latin Modern Math, STIX Two Math, Cambria Math, DejaVu Math TeX Gyre, Noto Sans Math, math, serif"


def _mathml(text: str, as_block: bool = False) -> str:
    return tex2mathml(text, as_block=as_block).replace("<math ", f'<math style="font-family: {_FONTS}" ', 1)


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node.astext()))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    # A wide one scrolls by itself; without a font for mathematics fractions are taller than their line.
    style = "overflow-x: auto; overflow-y: hidden; margin: 1rem 0; padding: 0.6rem 0"
    writer.body.append(f'<div class="math-block" style="{style}">{_mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
