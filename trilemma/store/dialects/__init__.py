"""Everything that differs between SQLite and PostgreSQL: how they are opened and locked, what their errors mean."""
