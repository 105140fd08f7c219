"""The Procedures screen: the list, the grid of pairs, imports, drafts, versions, and what seems odd about them.

This is the screen only; the type ``Procedure`` is in ``tokmem_desk.procedures``, those of a profile are in
``profiles.store.procedures``. Reading files of pairs is in ``profiles.pair_files``; training is in ``tui.training``.
"""
