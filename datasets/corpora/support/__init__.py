"""Tables and readers that several corpora share; none is a corpus."""
