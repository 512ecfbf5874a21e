"""Objectives: the agent that proposes how much each business objective should count."""
