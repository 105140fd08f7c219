"""What one person keeps on disk: paths, settings, profiles, procedures with their pairs, memories, chats and jobs.

Knows files and SQLite. Does not know tensors, training or screens.
"""
