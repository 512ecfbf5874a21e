"""Segmenting: agents that find kinds of users, and decide which path each kind takes."""
