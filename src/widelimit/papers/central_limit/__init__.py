"""Central limit theorems (Sirignano & Spiliopoulos 2020, Pham & Nguyen 2021)."""
