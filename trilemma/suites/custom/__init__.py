"""The user's own questions out of a CSV or JSONL file."""
