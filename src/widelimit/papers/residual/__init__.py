"""Residual networks follow their limit (Chizat 2025, 2026; Lu, Ma, Lu, Lu & Ying 2020)."""
