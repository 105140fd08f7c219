"""What a message refers to: "send it to Anna" after a message about a parcel.

``finder`` marks the words that refer to something, and finds values that they may mean, by small ``networks``; it reads
a message behind what was said before it, as a ``dossier``. ``fitting`` learns the networks once per backbone from
``background.referring``, by the ``recipe``. ``resolve`` puts what is meant in the place of the words. Who answers the
message, and what was said before, is the business of ``generation``.
"""
