"""Around the limit: fluctuations, validity, widths. Derivatives of the limit, networks in bundles."""
