"""The database: statements beside the functions that run them, rows into values."""
