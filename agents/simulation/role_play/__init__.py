"""Simulated users whose decisions a language model makes, after Agent4Rec."""
