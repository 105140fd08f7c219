"""Texts that tell a model what to do, in the forms of other programs: read as a procedure's beginning, and written.

Knows skills of agents (``SKILL.md``), fabric's patterns, templates of ``llm``, Ollama's Modelfiles and plain prompts.
Runs no model and stores nothing; drafting pairs from a text is ``tui.engine.text_drafting``.
"""
