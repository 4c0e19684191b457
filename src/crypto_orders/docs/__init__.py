"""The published pages: Markdown written by us, rendered once, searchable, and the API's reference."""
