"""Two and three layers, limits in sequence (Sirignano & Spiliopoulos 2022)."""
