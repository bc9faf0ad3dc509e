"""The report: one self-contained page, its pictures, tables and words; it computes no results.

The page is `page.render_report`; nothing is imported here, for the command line asks for words and
needs no pictures.
"""
