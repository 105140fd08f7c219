"""The first steps: what this computer can run, a recommended model, and a first procedure to train and try.

The app begins with this screen until somebody has taken the steps or left them; the palette shows it again. Nothing is
downloaded before the person agrees. The controllers of the app do the work; this screen asks and draws.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Literal, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from profiles.pair_files.pairs_file import PairsFile
from tokmem_desk.errors import TokmemError
from tokmem_desk.models.catalogue import CatalogueEntry, find_entry
from tokmem_desk.models.hardware_fit import Machine, look_at_machine, recommended
from tokmem_desk.models.store import ModelStore
from tokmem_desk.procedures import Procedure
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.error_dialogs import shows_errors
from tui.kit.labels import set_label
from tui.models.pull import ModelPull
from tui.procedures.samples import sample_files
from tui.shell.services import ShellServices
from tui.shell.welcome_view import (
    about_learning,
    about_machine,
    about_model,
    about_result,
    about_sample,
    first_try,
    rail,
)
from tui.training.queue import TrainJob

Step = Literal["model", "getting", "sample", "learning", "result"]

FIRST_PRESET = "quick"
"""The shortest one: the first training should end soon."""


class WelcomeScreen(AppScreen):
    """See the module."""

    MODE = "welcome"
    CSS_PATH = "welcome.tcss"
    AUTO_FOCUS = None
    HELP_TEXT = (
        "Four steps: this computer, a model for it, a first procedure, trying it. Enter goes on, Esc leaves and "
        "lets you look around; 'First steps' in the menu (Ctrl+P) comes back to where you were."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Look around"),
        Binding("p", "pause", "Pause"),
        Binding("o", "others", "Other models"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._machine: Machine | None = None
        self._samples: list[PairsFile] = []
        self._sample: PairsFile | None = None
        self._step: Step | None = None

    @property
    def tokmem(self) -> ShellServices:
        """The app, as far as this room uses it."""
        return cast(ShellServices, self.app)

    def body(self) -> ComposeResult:
        with Horizontal(id="both"):
            yield Static(id="rail")
            with VerticalScroll(id="page", can_focus=False), Vertical(id="column"):
                yield Static(id="about")
                yield OptionList(id="samples", markup=False)
                yield Static(id="example")
                yield Static(id="fault", markup=False)
                with Horizontal(id="buttons"):
                    yield Button("", id="go", variant="primary", compact=True)
                    yield Button("", id="other", compact=True)

    async def begin(self) -> None:
        """Subscribe to downloads, and find out what the computer has."""
        self.tokmem.downloads.changed.subscribe(self, self._pull_news)
        self._samples = sample_files()
        samples = self.query_one("#samples", OptionList)
        samples.add_options([Option(_option(sample), id=sample.procedure_name) for sample in self._samples])
        samples.highlighted = len(self._samples) - 1
        self._draw()
        self._look()

    @work(group="look", exit_on_error=False)
    async def _look(self) -> None:
        self._machine = await asyncio.to_thread(look_at_machine)
        self._draw()
        if self._ready and self.tokmem.link.state.phase == "off":
            self.tokmem.load_engine()

    # News from the app

    def on_engine_changed(self, state: EngineState) -> None:
        self._draw()

    def on_jobs_changed(self) -> None:
        self._draw()

    def on_screen_resume(self) -> None:
        """Draw again: the person may have chosen another model meanwhile."""
        self._draw()

    def on_resize(self) -> None:
        """Draw again: the list of steps is at the left, or at the top of a narrow screen."""
        self.call_after_refresh(self._draw)

    def _pull_news(self, pull: ModelPull) -> None:
        if pull.state == "done" and pull.model in (self._entry.id if self._entry else None, self.tokmem.model):
            self.tokmem.load_engine()
        self._draw()

    # Where we are

    @property
    def _entry(self) -> CatalogueEntry | None:
        """The model of the settings if one was chosen, otherwise the recommended one."""
        if self.tokmem.model != "default":
            return find_entry(self.tokmem.model)
        return recommended(self._machine)[0] if self._machine is not None else find_entry("default")

    @property
    def _wanted(self) -> str:
        """The model as the settings name it."""
        entry = self._entry
        return self.tokmem.model if entry is None else entry.id

    @property
    def _ready(self) -> bool:
        """Whether the model is on this computer."""
        try:
            return ModelStore(self.tokmem.paths.models).is_ready(self._wanted)
        except TokmemError:
            return False

    @property
    def _pull(self) -> ModelPull | None:
        pull = self.tokmem.downloads.current
        return pull if pull is not None and pull.model == self._wanted and pull.state != "done" else None

    @property
    def _job(self) -> TrainJob | None:
        """The training of the chosen sample, if there is one."""
        return None if self._sample is None else self.tokmem.trainings.of(str(self._sample.procedure_name))

    @property
    def step(self) -> Step:
        """The step that the person is at."""
        job, state = self._job, self.tokmem.link.state
        if job is not None and job.state in ("queued", "running"):
            return "learning"
        if job is not None and job.trained is not None:
            return "result"
        if self._pull is not None or state.phase == "loading":
            return "getting"
        return "sample" if state.phase == "ready" else "model"

    # Drawing

    @shows_errors
    def _draw(self) -> None:
        if not self.is_mounted:
            return
        step = self.step
        narrow = self.app.size.width < 100
        self.query_one("#rail", Static).update(rail(step, in_a_line=narrow))
        about = self.query_one("#about", Static)
        go, other = self.query_one("#go", Button), self.query_one("#other", Button)
        self.query_one("#samples").display = step == "sample"
        example = self.query_one("#example", Static)
        example.display = step == "sample"
        self._show_fault()
        match step:
            case "model":
                about.update(self._about_model(short=self.app.size.height < 30))
                go_words, other_words = self._model_label, "o Other models"
            case "getting":
                about.update(about_model(self._pull, self.tokmem.link.state))
                pull = self._pull
                labels = {"paused": "Go on", "failed": "Try again"}
                go_words = labels.get(pull.state, "p Pause") if pull is not None else "Please wait"
                other_words = "Esc Look around meanwhile"
            case "sample":
                about.update(about_sample())
                self._draw_example()
                go_words, other_words = "Teach it this", "Esc Look around"
            case "learning":
                assert self._job is not None
                about.update(about_learning(self._job))
                go_words, other_words = "Please wait", "Esc Look around meanwhile"
            case "result":
                assert self._job is not None
                assert self._job.trained is not None
                about.update(about_result(self._job.trained))
                go_words, other_words = "Use it and try it", "Drop it"
        set_label(go, go_words)
        set_label(other, other_words)
        go.disabled = go_words == "Please wait"
        if step != self._step or self.focused is None:
            self._step = step
            (self.query_one("#samples") if step == "sample" else other if go.disabled else go).focus()
        self.refresh_bindings()

    def _about_model(self, *, short: bool) -> Content:
        if self._machine is None:
            return Content("Looking at this computer …")
        ready = self._ready
        offline = self.tokmem.settings.flag("offline") and not ready
        reason = "chosen in the settings" if self.tokmem.model != "default" else recommended(self._machine)[1]
        return about_machine(
            self._machine, self._entry, self._wanted, reason, ready=ready, offline=offline, short=short
        )

    @property
    def _model_label(self) -> str:
        entry = self._entry
        if self._ready:
            return "Load it"
        return f"Download {entry.download_bytes / 2**20:,.0f} MiB and begin" if entry is not None else "Get it"

    def _draw_example(self) -> None:
        sample = self._highlighted
        if sample is None:
            return
        pairs = [Content.styled(str(sample.description), "$muted"), Content("")]
        for pair in sample.pairs[: 3 if self.app.size.height >= 30 else 1]:
            pairs += [
                Content.assemble(Content.styled("you type  ", "$muted"), pair.input),
                Content.assemble(Content.styled("you get   ", "$muted"), Content.styled(pair.response, "bold")),
            ]
        pairs.append(Content.styled(f"… and {len(sample.pairs)} pairs in all", "$muted"))
        self.query_one("#example", Static).update(Content("\n").join(pairs))

    def _show_fault(self) -> None:
        line = self.query_one("#fault", Static)
        pull, state, job = self._pull, self.tokmem.link.state, self._job
        error = pull.error if pull is not None else state.error if state.phase == "failed" else None
        if error is None and self.step == "sample" and job is not None:
            error = job.error
        line.update(Content(f"! {error.message.splitlines()[0]} {error.next_step}".strip() if error else ""))
        line.display = error is not None

    @property
    def _highlighted(self) -> PairsFile | None:
        at = self.query_one("#samples", OptionList).highlighted
        return None if at is None else self._samples[at]

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show pairs of the sample under the cursor."""
        if self.step == "sample":
            self._draw_example()

    # Doing

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Train the sample that was chosen with Enter."""
        self._go_on()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Do what the pressed button says at this step."""
        if event.button.id == "go":
            self._go_on()
        elif self.step == "model":
            self.action_others()
        elif self.step == "result":
            self._drop()
        else:
            self.action_leave()

    @shows_errors
    def _go_on(self) -> None:
        match self.step:
            case "model":
                self._get_model()
            case "getting":
                self._pause_or_go_on()
            case "sample":
                self._teach()
            case "result":
                self._try()
            case "learning":
                pass

    def _get_model(self) -> None:
        entry = self._entry
        if entry is not None and self.tokmem.model == "default" and entry.id != self._default_id:
            self.tokmem.settings.set_where_it_counts("model", entry.id)
            self.tokmem.apply_settings()
        if self._ready:
            self.tokmem.load_engine()
        else:
            self.tokmem.downloads.fetch(
                self._wanted, entry.title if entry else self._wanted, entry.download_bytes if entry else None
            )
        self._draw()

    @property
    def _default_id(self) -> str:
        entry = find_entry("default")
        assert entry is not None
        return entry.id

    @work(group="pause", exit_on_error=False)
    async def _pause_or_go_on(self) -> None:
        pull = self._pull
        if pull is None:
            return
        if pull.running:
            await pull.pause()
        else:
            self.tokmem.downloads.fetch(pull.model, pull.title, pull.download_bytes)

    def action_pause(self) -> None:
        """Pause or resume the download."""
        self._pause_or_go_on()

    def _teach(self) -> None:
        """Add the sample under the cursor as a procedure, and train it."""
        sample = self._highlighted
        if sample is None:
            return
        name = str(sample.procedure_name)
        if name not in {record.name for record in self.tokmem.store.procedures.list()}:
            procedure = Procedure(name, sample.pairs, sample.held_out, sample.description or "", sample.pattern)
            self.tokmem.store.procedures.add(procedure, source="sample")
            self.tokmem.announce_store()
        self._sample = sample
        self.tokmem.train([name], FIRST_PRESET, show=False)
        self._draw()

    def _try(self) -> None:
        """Activate the new memory, and put the message whose answer was shown into the prompt of the chat."""
        sample, job = self._sample, self._job
        assert sample is not None
        assert job is not None
        self.tokmem.trainings.decide([job], activate=True)
        self.tokmem.announce_store()
        tried = None if job.trained is None else first_try(job.trained["scorecard"])
        self.tokmem.first_screen.end_welcome(sample.pairs[0].input if tried is None else tried["input"])

    @shows_errors
    def _drop(self) -> None:
        if self._job is not None:
            self.tokmem.trainings.decide([self._job], activate=False)
        self._sample = None
        self._draw()

    def action_others(self) -> None:
        """Show all models."""
        self.app.switch_mode("models")

    def action_leave(self) -> None:
        """Go to the chat; a download or a training continues."""
        self.tokmem.first_screen.end_welcome()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Allow pausing only while there is a download."""
        if action == "pause" and self.is_mounted:
            return self._pull is not None
        return True


def _option(sample: PairsFile) -> Content:
    """The line of a sample: its name and a response."""
    return Content.assemble(
        Content.styled(f" {sample.procedure_name:<16}", "bold"), Content.styled(sample.pairs[0].response, "$muted")
    )
