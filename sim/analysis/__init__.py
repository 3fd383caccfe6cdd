"""What a run comes to: metrics, intervals, curves, findings and checks."""
