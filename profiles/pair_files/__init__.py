"""Example pairs in files and on the clipboard: forms of many programs, read row by row, written, and advice on them.

It stores nothing; ``profiles.store`` does.
"""
