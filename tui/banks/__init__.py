"""Export and import of banks, for the app and the command line: dialogs, texts, and the transfer itself.

The format is in ``tokmem_desk.bank``.
"""
