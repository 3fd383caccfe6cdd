"""What can be written down: scenarios, traces, images, tables and strategies."""
