"""What runs an artifact, one module an engine."""
