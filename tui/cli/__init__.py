"""The command line: ``main`` parses and reports errors, one module per command does the work.

The model runs in the engine process; nothing here imports torch, and ``--help`` imports next to nothing.
"""
