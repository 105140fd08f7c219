"""SQLite as every process of the app uses it: opening, migrating, short transactions, errors as sentences.

It knows no table but its own bookkeeping; the tables are used in ``profiles.store`` and ``profiles.registry``.
"""
