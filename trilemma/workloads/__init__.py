"""Prompts by use case, and the arithmetic of latency."""
