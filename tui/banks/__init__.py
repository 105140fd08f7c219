"""Banks out and in, for the app and the command line: dialogs, words, and the transfer from file to profile.

The format is in ``tokmem_desk.bank``.
"""
