"""OpenAI's API: requests, responses and their schemas."""
