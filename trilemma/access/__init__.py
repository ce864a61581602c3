"""Who may do what: people and their roles, limits, and the one place through which a page or a command changes things."""
