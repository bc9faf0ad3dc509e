"""Around the limit: fluctuations, validity, widths. Derivatives of the limit; trains nothing."""
