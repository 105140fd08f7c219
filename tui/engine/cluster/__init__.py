"""Training on many computers: procedures go to workers of a Ray cluster, and come back as memories with their checks.

``task`` is what travels, ``worker`` trains on the other side, ``pool`` is the one module that knows Ray, and ``run``
hands the jobs of a profile out and takes what comes back. How one procedure is trained is in
``tui.engine.procedure_training``, the same code for all places. Keys and whole profiles never travel.
"""
