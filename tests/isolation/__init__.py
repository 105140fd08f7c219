"""Nothing of one profile shows in another's use: in rows, banks, routes, answers or files."""
