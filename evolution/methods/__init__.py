"""How candidates are found: one verb, ``ask``, behind which every method stands."""
