"""One screen or modal per file, its style sheet beside it."""
