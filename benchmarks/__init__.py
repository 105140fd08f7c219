"""Measurements: methods side by side on one backbone, as programs (``python -m benchmarks.NAME --help``).

Nothing here is installed with the app. Needs the extra ``bench``.
"""

from tokmem_desk.system.threads import wait_asleep

wait_asleep()  # before anything here imports torch
