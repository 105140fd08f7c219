"""SQLite as every process of the app uses it: opening, migrating, short transactions, errors as sentences.

``migrations`` has the steps that make and change the tables. What stands in them is read and written in
``profiles.store`` and ``profiles.registry``.
"""
