"""Decoding: files of any common format to pixels, frames and samples, as a good viewer shows them."""
