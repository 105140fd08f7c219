"""Settings: what can be set, where a value came from, reading and writing ``config.toml``.

It acts on none of them.
"""
