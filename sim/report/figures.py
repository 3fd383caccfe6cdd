"""Pictures as SVG inside a page: its colours are the page's, its text is text, its ids are its own."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sim.plots import frame
from sim.plots.frame import SMALL, titled

SIZE = (4.3, 2.8)  # inches: text stays readable on a phone
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cinder-cache-planner",
    "hatch.linewidth": 0.7,
}
# The colours of `sim.plots`, as the page's style calls them.
COLORS = {
    frame.INK: "ink",
    frame.MUTED: "muted",
    frame.GRID: "grid",
    frame.PAPER: "paper",
    frame.USERS: "users",
    frame.TODAY: "today",
    **{color: f"line-{number}" for number, color in enumerate(frame.LINES)},
    **{color: source for source, color in frame.BY_SOURCE.items()},
    frame.RECOMMENDED: "recommended",
    frame.LIMIT: "limit",
}
_FAMILY = re.compile(r"font-family: [^;\"]*; ")
_TAG = re.compile(r"<[^>]+>")
_DECIMALS = re.compile(r"(\d+\.\d)\d+")  # of a point; a tenth is finer than a screen
_COLOR = re.compile("|".join(COLORS))


class Pictures:
    """Draws the pictures of a page, each with a number that tells its ids from those of the others."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(
        self,
        plot: Callable[..., Axes],
        *data: object,
        label: str,
        title: str = "",
        size: tuple[float, float] = SIZE,
        **options: Any,
    ) -> Markup:
        """Draw `data` with a function of `sim.plots`, as an `svg` element with the name `label`.

        `title` goes before that of the Axes.
        """
        with mpl.rc_context(SETTINGS):
            figure = Figure(figsize=size)
            axes = plot(*data, figure.add_subplot(), **options)
            if title:
                titled(axes, f"{title}: {axes.get_title(loc='left')}")
            _fit(axes, size)
            figure.patch.set_visible(False)
            axes.patch.set_visible(False)
            file = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            FigureCanvasSVG(figure).print_svg(file, metadata=nothing)  # type: ignore[no-untyped-call]
        return Markup(_inlined(file.getvalue(), str(escape(label)), next(self._numbers)))


def _fit(axes: Axes, size: tuple[float, float]) -> None:
    """Leave room for the letters around the Axes, by their number: the page has a font of its own.

    Matplotlib's layouts measure each text, in another font, which takes as long as all the rest.
    """
    width, height = (72 * inches for inches in size)
    labels = axes.yaxis.get_major_formatter().format_ticks(list(axes.get_yticks()))
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    axes.figure.subplots_adjust(
        left=(10 + 0.66 * SMALL * longest) / width,
        right=1 - 10 / width,
        top=1 - 2.2 * SMALL / height,
        bottom=(4 * SMALL if axes.get_xlabel() else 2.2 * SMALL) / height,
    )


def _inlined(text: str, label: str, number: int) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda of: f' id="f{number}-{of[1]}"' if of[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\1#f{number}-", text)
    text = _COLOR.sub(lambda color: f"var(--{COLORS[color.group()]})", text)
    text = _TAG.sub(lambda tag: _DECIMALS.sub(r"\1", _FAMILY.sub("", tag[0])).replace(" \n", " "), text)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = f'<svg viewBox="{box.group(1)}" role="img" aria-label="{label}">'
    text = head + text[text.index(">") + 1 :]
    return re.sub(r">\s+<", "><", text).strip()
