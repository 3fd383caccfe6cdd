"""Damaged files for every reader: each either reads a file or lists what is wrong with it, and nothing else.

A reader has a module `test_*.py` here with one or more `Target`s. pytest draws a few fixed files for each;
`make fuzz` draws new ones for ten minutes (FUZZ_MINUTES=60 SEED=7 make fuzz: for an hour, from a seed). What
it finds is kept by name in `test_found.py`.
"""
