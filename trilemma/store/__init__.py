"""Tables, queries and migrations; nothing outside this package speaks SQL."""
