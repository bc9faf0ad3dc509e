"""Folders on disk: of one run, of a family of problems; files written whole or not at all."""
