"""What both engines stand on: arrays, space, what exists at the start, and what a run records."""
