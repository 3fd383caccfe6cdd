"""Other Cinders than the installed one decide in processes and environments of their own."""
