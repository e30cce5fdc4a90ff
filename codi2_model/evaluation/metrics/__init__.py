"""Measures that need no model and no data set: arrays in, numbers out, each with the source of its formula."""
