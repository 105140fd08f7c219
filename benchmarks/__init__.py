"""Measurements: methods side by side on one backbone, as programs (``python -m benchmarks.NAME --help``).

Nothing here is installed with the app. Needs the extra ``bench``.
"""
