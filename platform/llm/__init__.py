"""Language models: the port, what they cost, and the OpenAI-compatible adapter."""
