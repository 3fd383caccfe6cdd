"""Results for people to read: `report.html`, and text for a terminal.

`report.html` of `compare`, `sweep` and `plan` is one file that needs no network:

    aggregates.py  what the page shows of a run's long tables
    figures.py     pictures of `sim.plots` as SVG with the page's colours
    numbers.py     tables as HTML and as files to download
    parts.py       sections of the page
    comparison.py, swept.py, planned.py  the pages
    page.py        the page's template (`templates/report.html.j2`), style and script

Text:

    display.py     summaries and comparisons; display_*.py: curves, sweeps, calibrations
    plan_text.py   plans
    terminal.py    width and colours
"""
