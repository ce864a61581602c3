"""A whole study as one file: written, checked and read back."""
