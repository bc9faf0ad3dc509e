"""What comes back: labelled, with errors, saved and loaded."""
