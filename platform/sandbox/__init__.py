"""Runs code that nobody has read in a confined child process, or refuses to run it at all."""
