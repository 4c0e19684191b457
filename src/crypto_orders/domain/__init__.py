"""The rules, pure: values in, decisions out."""
