"""Around the limit: fluctuations, validity, widths. Its derivatives, networks in bundles."""
