"""Limits without a closed flow: measured with networks of several widths, to a tolerance."""
