"""The input files: scenarios, traces, images, tables and strategies."""
