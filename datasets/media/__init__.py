"""Media: decoding, normalising and encoding pictures and sounds."""


class MediaError(ValueError):
    """A picture or sound cannot be read; the message says why."""
