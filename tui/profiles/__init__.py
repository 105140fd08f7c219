"""The Profiles screen, the locked screen, and the dialogs for names, passphrases and recovery keys.

Profiles themselves are in ``profiles.registry``.
"""
