"""Benchmark suite `open` (`codi2 evaluate --suite open`): every task of a build against its exact ground truth."""
