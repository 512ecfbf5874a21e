"""The admin console: pages rendered on the server."""

from agenticrs.ui.console.install import install

__all__ = ["install"]
