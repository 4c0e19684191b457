"""Background jobs: each heals something and depends on nobody."""
