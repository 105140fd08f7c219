"""The core: a frozen model, what is trained beside it, how messages find it, and the files that carry it.

It draws nothing, prints nothing and knows no file location: folders and bytes come as arguments. For training go to
``trainer``, for what a person keeps to ``profiles``, for screens, commands and processes to ``tui``.

Beside the rooms: ``procedures`` has the data types of procedures and example pairs, ``errors`` all errors that a caller
may react to.
"""
