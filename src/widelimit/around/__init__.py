"""Around the limit: fluctuations and widths, from derivatives of the limit."""
