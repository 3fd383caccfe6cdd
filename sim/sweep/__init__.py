"""Many runs of one scenario with other values, kept on disk: cells, and what is varied."""
