"""Routing: agents that decide which path of the composition a user takes."""
