"""Retrievers: agents that score the whole catalogue and put out the best unseen items."""
