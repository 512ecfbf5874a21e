"""Readers for the formats in which logs come; each makes a ``RawLog`` and says what it left out."""
