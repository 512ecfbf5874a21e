"""MLflow: the port that the registry needs (port.py), its client, and the embedded server."""
