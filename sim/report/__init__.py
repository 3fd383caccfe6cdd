"""Results for people to read: `report.html`, and text for a terminal.

`report.html` of `compare`, `sweep`, `plan` and `advise` is one file that needs no network:

    aggregates.py  what the page shows of a run's long tables
    figures.py     pictures of `sim.plots` as SVG with the page's colours
    numbers.py     tables as HTML and as files to download
    parts.py       sections of the page
    verdict.py     what a page opens with
    explore.py     the data of the panel that answers "and what if?" (`templates/explore.js`)
    comparison.py, swept.py, planned.py, advised.py  the pages
    side.py, pair.py, pair_words.py, paired.py  two results side by side, and their page
    page.py        the page's template (`templates/report.html.j2`), style and script

Text:

    display.py     summaries and comparisons; display_*.py: curves, sweeps, calibrations
    plan_text.py   plans
    terminal.py    width and colours
"""
