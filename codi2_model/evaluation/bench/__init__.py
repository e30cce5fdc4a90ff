"""The benchmark (`codi2 evaluate`, the promotion gate): every task of a build against its exact ground truth."""
