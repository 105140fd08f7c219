"""Places and files: where everything lies, writes that are whole or not there, locks between processes, erasing.

What is in the files is somebody else's business; encrypted files are in ``profiles.encryption``.
"""
