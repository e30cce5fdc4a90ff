"""The open bench (`codi2 evaluate --suite open`): every task of a build, measured against its exact ground truth."""
