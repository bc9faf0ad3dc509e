"""Neuronal embeddings (Nguyen & Pham 2023)."""
