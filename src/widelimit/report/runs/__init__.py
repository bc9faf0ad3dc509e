"""What tables of runs say, drawn and as a page."""
