"""Verdicts on answers that wait to be learned: a line that counts them, and the key that puts them into the queue."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tokmem_desk.errors import TokmemError
from tui.kit.words import count
from tui.procedures.host import ProceduresHost
from tui.shared.improvable import check_improvable, refuse_queued


class VerdictLine(Static):
    """Says that verdicts wait. Hidden while none does."""

    DEFAULT_CSS = """
    VerdictLine { height: 1; padding: 0 1; color: $muted; display: none; text-overflow: ellipsis; text-wrap: nowrap; }
    """

    def show(self, verdicts: int) -> None:
        """Draw for so many verdicts."""
        self.display = verdicts > 0
        verb = "waits" if verdicts == 1 else "wait"
        self.update(
            Content.assemble("◇ ", Content.styled("V", "bold $accent"), f" {count(verdicts, 'verdict')} {verb}")
        )


class VerdictLearning:
    """Knows what waits, and queues it.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host

    @property
    def waiting(self) -> dict[str, int]:
        """Verdicts that wait, by procedure; none of a procedure with a training in the queue."""
        app = self._host.tokmem
        queued = {job.name for job in app.trainings.jobs}
        return {name: n for name, n in app.store.verdicts.waiting(app.fingerprint).items() if name not in queued}

    def learn(self) -> None:
        """Queue an improvement of each procedure whose verdicts wait, and say of the others why not."""
        host, app = self._host, self._host.tokmem
        waiting = self.waiting
        if not waiting:
            host.notify("No verdicts wait. Mark answers in the chat with + or -, or correct them with p.")
            return
        names, reasons = [], []
        for name in waiting:
            try:
                refuse_queued(app.store, name)
                check_improvable(app.store, name, app.fingerprint or "")
                names.append(name)
            except TokmemError as caught:
                reasons.append(caught.message)
        if names:
            app.improve(names)
        for reason in reasons:
            host.notify(reason, markup=False)
