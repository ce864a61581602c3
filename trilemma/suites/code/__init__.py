"""Suites in which the model writes programs, and the sandbox that tries them."""
