"""What the service does: one function, one transaction."""
