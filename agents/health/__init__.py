"""Health checks that a candidate passes before it is trained in full."""
