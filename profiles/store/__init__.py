"""One profile, open: its procedures, pairs, memories, chats, jobs and versions, over one database.

Which profiles there are, and opening one, is in ``profiles.registry``.
"""
