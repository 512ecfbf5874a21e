"""Work that runs elsewhere: the port (job.py) and its Ray adapter."""
