"""The HTTP API: recommendations, feedback, and governance, as JSON."""
