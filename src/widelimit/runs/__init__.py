"""Runs over several widths, whoever made them, and what they say about infinite width."""
