"""The one error of the embedded database."""


class EmbeddedPostgresError(Exception):
    """The embedded database could not be made, started or reached; the text is one sentence for a person."""
