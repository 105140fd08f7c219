"""Export and import of banks, for the app and the command line: dialogs, texts, and the transfer itself.

These are the dialogs and the way of a bank between file and profile; the file format is in ``tokmem_desk.bank``, what a
profile keeps of banks in ``profiles.store.banks``.
"""
