"""Candidates drafted by language models: asked, checked, repaired, compared with what is known."""
