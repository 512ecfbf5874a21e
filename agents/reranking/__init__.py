"""Re-ranking: agents that order a slate as a whole, not item by item."""
