"""Simulated users: fitted to a log, browsing page by page, and how far they can be trusted."""
