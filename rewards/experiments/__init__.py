"""Experiments on users: who sees what, whether that went right, and what may be concluded when."""
