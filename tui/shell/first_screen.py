"""Which screen a profile begins with: the chat, or the first steps for somebody who is new."""

from __future__ import annotations

from pathlib import Path

from profiles.files.atomic import write_text
from profiles.files.paths import private_folder
from tokmem_desk.errors import TokmemError
from tui.chat.screen import ChatScreen
from tui.shell.engine_controller import EngineController
from tui.shell.errors import ErrorPresenter
from tui.shell.session import Session
from tui.shell.stage import Stage


class FirstScreen:
    """See the module.

    Args:
        session: the open profile.
        engine: loads the model behind the chat.
        stage: shows the screens.
        errors: shows that the end of the first steps could not be written down.
    """

    def __init__(self, session: Session, engine: EngineController, stage: Stage, errors: ErrorPresenter) -> None:
        self._session = session
        self._engine = engine
        self._stage = stage
        self._errors = errors

    def show(self) -> None:
        """Show the screen to begin with; behind the chat, the model is loaded."""
        if self._is_new:
            self._stage.switch_mode("welcome")
            return
        self._stage.switch_mode("chat")
        self._stage.call_after_refresh(self._engine.load)

    def end_welcome(self, example: str = "") -> None:
        """Go to the chat, and never begin with the first steps again.

        Args:
            example: what to put into the prompt.
        """
        try:
            write_text(private_folder(self._session.paths.state) / self._welcomed_file.name, "")
        except TokmemError as caught:
            self._errors.show(caught)
            return
        self._stage.switch_mode("chat")
        if example:
            self._stage.call_after_refresh(self._offer, example)

    def _offer(self, text: str) -> None:
        screen = self._stage.screen
        if isinstance(screen, ChatScreen):
            screen.offer(text)

    @property
    def _welcomed_file(self) -> Path:
        """Exists once the first steps were taken or left."""
        return self._session.paths.state / "welcomed"

    @property
    def _is_new(self) -> bool:
        """Nobody has taken the first steps on this computer, and nothing was taught or said in the profile."""
        if self._welcomed_file.exists():
            return False
        store = self._session.store
        return not store.procedures.list() and not store.chats.list(limit=1)
