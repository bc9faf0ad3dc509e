"""Where the data come from: tables, files, formulas, populations."""
