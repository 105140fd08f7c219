"""SQLite as every process of the app uses it: opening, migrating, short transactions, errors as sentences.

It defines no tables except its version number; the tables are used in ``profiles.store`` and ``profiles.registry``.
"""
