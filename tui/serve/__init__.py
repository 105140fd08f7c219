"""An HTTP API like OpenAI's, for other programs on this computer. Loads no torch.

``app`` has the addresses and who may ask, ``requests`` reads a request's body, ``answers`` turns the engine's events
into OpenAI's format, ``errors`` has the errors in that format, ``connections`` the time limits. ``mcp_server`` is the
same for programs that speak the Model Context Protocol.
"""
