"""The engine process: its protocol, its client, and the server that owns the model.

Importing this package or its client loads no torch; only the server's modules do, in their own process.
"""
