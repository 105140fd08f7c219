"""The Profiles screen, the locked screen, and the dialogs for names, passphrases and recovery keys.

These are the screens only; the profiles themselves are in the package ``profiles`` (``profiles.registry``).
"""
