"""The memories for other programs: OpenAI's chat completions on this computer alone. Loads no torch."""
