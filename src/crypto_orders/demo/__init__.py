"""Everything on one machine with one command: database, provider sandbox, web, workers and demo data."""
