"""`report.html`: one file without a network, of what `compare`, `sweep` and `plan` found.

    aggregates.py  what of a run's long tables the page shows
    figures.py     pictures of `sim.plots` as SVG with the page's colours
    numbers.py     tables as HTML and as files to download
    parts.py       sections of the page
    pages.py       the pages: of a comparison, a sweep, a plan

The page is `sim/report/templates/report.html.j2`, with its style and script.
"""
