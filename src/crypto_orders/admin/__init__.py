"""The pages where support works: named operators, their sessions, and every screen."""
