"""Transformers with many heads and blocks follow their limit (arXiv:2605.11059, 2605.17660)."""
