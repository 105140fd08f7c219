"""Places and files: where everything lies, atomic writes, locks between processes, erasing.

What is in the files is decided elsewhere; encrypted files are in ``profiles.encryption``.
"""
