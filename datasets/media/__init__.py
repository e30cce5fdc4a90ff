"""Media: decoding, normalising and encoding images, audio and video."""


class MediaError(ValueError):
    """A medium cannot be read. The message names the reason."""


class TooLarge(MediaError):
    """More pixels or samples than allowed. The message gives the number, to complete 'the image has ...'."""
