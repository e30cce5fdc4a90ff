"""The three training stages: align, decoders, mllm."""
