"""Who may do what: people, roles and limits, and the one place through which pages and commands change things."""
