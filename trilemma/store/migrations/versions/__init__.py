"""The history of the schema, one revision a file; see trilemma/store/migrate.py."""
