"""Rankers: agents that put the candidates of others into a better order."""
