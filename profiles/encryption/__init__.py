"""Keys of a locked profile, and files encrypted with them.

It handles one profile's folder at a time. Locking a whole profile is in ``profiles.registry``.
"""
