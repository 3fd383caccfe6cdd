"""Pictures as SVG to be put into a page: its colours are the page's, its text is text, its ids are its own."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sim import plots

SIZE = (4.9, 3.0)  # inches: text stays readable on a phone
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "cinder-cache-planner", "hatch.linewidth": 0.7}
# The colours of `sim.plots`, as the page's style calls them.
COLORS = {
    plots.INK: "ink",
    plots.MUTED: "muted",
    plots.GRID: "grid",
    plots.PAPER: "paper",
    plots.USERS: "users",
    plots.TODAY: "today",
    **{color: f"line-{number}" for number, color in enumerate(plots.LINES)},
    **{color: source for source, color in plots.SOURCES.items()},
    plots.RECOMMENDED: "recommended",
    plots.LIMIT: "limit",
}
_FONT = re.compile(r"font: ([0-9.]+)px [^;\"]*")
_COLOR = re.compile("|".join(COLORS))


def svg(draw: Callable[[Axes], Axes], label: str, number: int, size: tuple[float, float] = SIZE) -> Markup:
    """What `draw` puts on an empty Axes, as an `svg` element that is called `label`.

    `number` tells its ids from those of the page's other pictures.
    """
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Markup(_inlined(file.getvalue(), str(escape(label)), number))


def _inlined(text: str, label: str, number: int) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' id="([^"]+)"', rf' id="f{number}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#f{number}-", text)
    text = _COLOR.sub(lambda color: f"var(--{COLORS[color.group()]})", text)
    text = _FONT.sub(r"font-size: \1px", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = f'<svg viewBox="{box.group(1)}" role="img" aria-label="{label}">'
    text = head + text[text.index(">") + 1 :]
    return re.sub(r">\s+<", "><", text).strip()
