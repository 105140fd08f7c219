"""Settings: what can be set, where a value came from, reading and writing ``config.toml``.

The code that uses a setting is elsewhere.
"""
