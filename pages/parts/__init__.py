"""Pieces of pages, too long to stand in the page itself."""
