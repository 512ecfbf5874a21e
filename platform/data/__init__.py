"""Interaction logs: how they are read, checked, stored, split and generated."""
