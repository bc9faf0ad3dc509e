"""Around the limit: fluctuations, validity, widths; derivatives, and networks in bundles."""
