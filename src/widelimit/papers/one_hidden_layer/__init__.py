"""One hidden layer (Sirignano & Spiliopoulos 2020)."""
