"""The ``agenticrs`` command."""
