"""`python -m sim` is `cinder-cache`."""

from sim.cli import main

main()
