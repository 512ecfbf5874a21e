"""Experimentation: agents that decide who sees a change, for how long, and what follows from it."""
