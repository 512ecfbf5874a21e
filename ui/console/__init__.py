"""The admin console: pages rendered on the server."""
