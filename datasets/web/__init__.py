"""What the web pages of `codi2 browse` and `codi2 serve` share."""
