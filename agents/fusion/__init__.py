"""Fusion: agents that make one list of candidates out of several."""
