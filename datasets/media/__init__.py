"""Media: decoding, normalising and encoding images, audio and video."""


class MediaError(ValueError):
    """A medium cannot be read; the message says why."""


class TooLarge(MediaError):
    """More pixels or samples than are allowed; the message says how many, for 'the image has ...'."""
