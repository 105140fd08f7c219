"""Keys of a locked profile, and files encrypted with them.

It knows one profile's folder and no list of profiles. Locking a whole profile is in ``profiles.registry``.
"""
