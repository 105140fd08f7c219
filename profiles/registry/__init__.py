"""The profiles of this computer: list, create, open, lock, rename, erase; and the tokens that open one for programs.

What is inside a profile is in ``profiles.store``.
"""
