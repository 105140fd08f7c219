"""The Procedures screen: the list, the grid of pairs, imports, drafts, versions, and what seems odd about them.

Reading files of pairs is in ``profiles.pair_files``; training is in ``tui.training``.
"""
