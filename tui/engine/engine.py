"""What the engine's operations share: the loaded model, the banks built from it, and what is going on.

Nothing here answers a request; that is in ``tui.engine.operations``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk.backbone.conversation_cache import ConversationCache, OwnedCache
from tokmem_desk.generation.recall import Bank
from tokmem_desk.generation.steps_together import StepPool
from tui.engine.bank_cache import BankCache
from tui.engine.models import LoadedModel
from tui.engine.overlap import TextVectors
from tui.engine.request import Request


class Conversations:
    """What has been run of conversations, of one profile at a time."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._cache: ConversationCache | None = None

    def of(self, store: ProfileStore, settings: Settings) -> OwnedCache:
        """The cache of this profile's conversations; those of other profiles are dropped."""
        if self._cache is None:
            self._cache = ConversationCache(self._model.backbone, settings.number("conversation_cache_mb"))
        owner = str(store.folder)
        self._cache.forget_others(owner)
        return self._cache.of(owner)

    def forget_where(self, gone: Callable[[str], bool]) -> None:
        """Drop the conversations of the profile folders of which ``gone`` is true."""
        if self._cache is not None:
            self._cache.forget_where(gone)

    @property
    def mebibytes(self) -> float:
        """Memory that the kept conversations take."""
        return 0.0 if self._cache is None else self._cache.bytes / 2**20


class RunningJobs:
    """Long requests that are going on, in words."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    @contextmanager
    def named(self, request: Request, text: str) -> Iterator[None]:
        """``status`` shows the text as long as the block runs."""
        self._texts[request.id] = text
        try:
            yield
        finally:
            del self._texts[request.id]

    def texts(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self._texts.values())


class Engine:
    """One engine's model with all that is kept beside it.

    Args:
        paths: where profiles and models lie.
        model: loaded when the first request needs it.
    """

    def __init__(self, paths: AppPaths, model: LoadedModel) -> None:
        self.paths = paths
        self.model = model
        self.bank_cache = BankCache(model)
        self.vectors = TextVectors(self.bank_cache)
        self.conversations = Conversations(model)
        self.jobs = RunningJobs()
        self._step_pool: StepPool | None = None

    @property
    def step_pool(self) -> StepPool:
        """Where answers that take turns have their steps computed together; after the model has loaded."""
        if self._step_pool is None:
            self._step_pool = StepPool(self.model.backbone)
        return self._step_pool

    def ready(self, request: Request) -> Iterator[None]:
        """Load the model, with progress events.

        Raises:
            OfflineError: it must be fetched and the client has no consent for that (``fetch`` is false).
        """
        if request.fields.get("fetch") is False:
            self.model.refuse_download()
        yield from self.model.load(request.report_phase, request.cancelled.is_set)

    def ready_to_chat(self, request: Request) -> Iterator[None]:
        """The same without what procedures need: that is learned once per model, and takes a while.

        Raises:
            OfflineError: see ``ready``.
        """
        if request.fields.get("fetch") is False:
            self.model.refuse_download()
        yield from self.model.load_to_chat(request.report_phase, request.cancelled.is_set)

    def ready_to_answer(self, request: Request) -> Iterator[None]:
        """Load what an answer in the request's profile needs: more than plain chat where procedures could answer.

        Raises:
            OfflineError: see ``ready``.
        """
        yield from self.ready_to_chat(request)
        if self.model.fitted:  # then there is nothing to look for in the profile
            return
        with self.profile(request) as (store, _):
            has_memories = bool(store.memories.all_active(self.model.backbone.fingerprint.digest))
        if has_memories:
            yield from self.ready(request)

    def bank(self, store: ProfileStore, settings: Settings) -> Bank:
        """The profile's procedures that are trained and switched on, as its settings want them to answer."""
        return self.bank_cache.bank(
            store, settings.text("router"), settings.number("none_bias"), settings.flag("keep_form")
        )

    @contextmanager
    def profile(self, request: Request) -> Iterator[tuple[ProfileStore, Settings]]:
        """Open the request's profile, with the settings in force there."""
        name = request.text("profile")
        encoded = request.fields.get("key")
        key = None if encoded is None else ProfileKey.from_text(str(encoded))
        with ProfileRegistry(self.paths) as registry, registry.open(name, key=key) as store:
            flags = request.fields.get("settings") or {}
            yield store, Settings.load(self.paths, flags, profile_folder=store.folder)

    def forget_texts(self) -> None:
        """Drop the features of all texts, of whichever profile: they are keyed by the texts themselves."""
        self.vectors = TextVectors(self.bank_cache)
