"""What the engine does for each request, as generators that yield between steps.

``training`` holds the longest of them. Handlers read and write profiles; they keep nothing but the loaded
model and the banks built from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import ConversationCache, OwnedCache
from tokmem_desk.errors import NotFoundError, UsageError
from tokmem_desk.generation.decoding import own_sampling
from tokmem_desk.generation.recall import Answer, Bank, Piece, Routed, Sampling, recall, route_messages
from tokmem_desk.generation.titling import propose_title
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE, ExamplePair
from tokmem_desk.system.device import memory_in_use_mb, release_memory
from tokmem_desk.templates.json_schema import forget_schemas
from tui.engine.adaptation import adapt
from tui.engine.bank_cache import BankCache
from tui.engine.drafting import draft
from tui.engine.evaluation import evaluate
from tui.engine.models import LoadedModel
from tui.engine.overlap import TextVectors, effect, overlap
from tui.engine.preparation import prepare
from tui.engine.probing import check_bank, make_probes
from tui.engine.request import Handler, Request
from tui.engine.training import train

_ROUTE_BATCH = 32

IMITATES_BELOW = 1_000_000_000
"""Models with fewer parameters copy the form of whatever answer stands before: after a contact card, the
capital of Norway became a contact card. They see plain chat alone."""


class Handlers:
    """One handler per op."""

    def __init__(self, paths: AppPaths, model: LoadedModel) -> None:
        self.paths = paths
        self.model = model
        self.bank_cache = BankCache(model)
        self.vectors = TextVectors(self.bank_cache)
        self._conversations: ConversationCache | None = None
        self._jobs: dict[int, str] = {}

    def by_op(self) -> dict[str, Handler]:
        return {
            "load": self.load,
            "fetch": self.fetch,
            "unload": self.unload,
            "forget": self.forget,
            "status": self.status,
            "ask": self.ask,
            "route": self.route,
            "train": self.train,
            "adapt": self.adapt,
            "prepare": self.prepare,
            "eval": self.eval,
            "overlap": self.overlap,
            "effect": self.effect,
            "draft": self.draft,
            "title": self.title,
            "bank_probes": self.bank_probes,
            "bank_check": self.bank_check,
        }

    # --- shared ------------------------------------------------------------------------------------

    def ready(self, request: Request) -> Iterator[None]:
        """Have the model loaded, with progress events.

        Raises:
            OfflineError: it must be fetched and the client has no consent for that (``fetch`` is false).
        """
        if request.fields.get("fetch") is False:
            self.model.refuse_download()

        def report(phase: str, fraction: float | None, text: str) -> None:
            request.emit("progress", phase=phase, fraction=fraction, text=text)

        yield from self.model.load(report, request.cancelled.is_set)

    def _bank(self, store: ProfileStore, settings: Settings) -> Bank:
        """The profile's procedures that are trained and switched on, as its settings want them to answer."""
        return self.bank_cache.bank(
            store, settings.text("router"), settings.number("none_bias"), settings.flag("keep_form")
        )

    @contextmanager
    def _job(self, request: Request, text: str) -> Iterator[None]:
        """``status`` names what is going on."""
        self._jobs[request.id] = text
        try:
            yield
        finally:
            del self._jobs[request.id]

    @contextmanager
    def profile(self, request: Request) -> Iterator[tuple[ProfileStore, Settings]]:
        """The request's profile and the settings in force there."""
        name = request.text("profile")
        given = request.fields.get("key")
        key = None if given is None else ProfileKey.from_text(str(given))
        with ProfileRegistry(self.paths) as registry, registry.open(name, key=key) as store:
            flags = request.fields.get("settings") or {}
            yield store, Settings.load(self.paths, flags, profile_folder=store.folder)

    # --- ops ---------------------------------------------------------------------------------------

    def load(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        request.emit("done", result=self.model.describe())

    def fetch(self, request: Request) -> Iterator[None]:
        def report(phase: str, fraction: float | None, text: str) -> None:
            request.emit("progress", phase=phase, fraction=fraction, text=text)

        request.emit("done", result={"id": self.model.fetch(report, request.cancelled.is_set)})
        yield

    def unload(self, request: Request) -> Iterator[None]:
        self.model.unload()
        self.bank_cache = BankCache(self.model)
        self.vectors = TextVectors(self.bank_cache)
        self._conversations = None
        request.emit("done", result={})
        yield

    def forget(self, request: Request) -> Iterator[None]:
        """Let go of everything that is remembered of a profile, as when it is locked.

        So it is with every profile that is not there any more: one that was erased, and one that was made encrypted,
        which gives it another folder. Its name may be gone by then, or be another one's.
        """
        name = request.text("profile")
        with ProfileRegistry(self.paths) as registry:
            there = {str(self.paths.profile_folder(one.id)) for one in registry.list()}
            with suppress(NotFoundError):
                there.discard(str(self.paths.profile_folder(registry.info(name).id)))

        def gone(folder: str) -> bool:
            return folder not in there

        self.bank_cache.forget(gone)
        if self._conversations is not None:
            self._conversations.forget_where(gone)
        # Keyed by the texts themselves, of whichever profile: what is still wanted is read again in a moment.
        self.vectors = TextVectors(self.bank_cache)
        forget_schemas()
        if self.model.loaded:  # demonstrations in a prompt are a beginning that many queries share
            self.model.backbone.renew_prefixes()
        release_memory(self.model.choice.device)
        request.emit("done", result={})
        yield

    def status(self, request: Request) -> Iterator[None]:
        choice = self.model.choice
        request.emit(
            "done",
            result={
                "loaded": self.model.loaded,
                "backbone": self.model.describe() if self.model.loaded else None,
                "device": choice.device,
                "dtype": choice.compute_dtype,
                "reason": choice.reason,
                "memory_mb": round(memory_in_use_mb(choice.device)),
                "jobs": sorted(self._jobs.values()),
                "conversations_mb": 0.0 if self._conversations is None else self._conversations.bytes / 2**20,
            },
        )
        yield

    def ask(self, request: Request) -> Iterator[None]:
        text = request.text("text")
        if not text.strip():
            raise UsageError("There is nothing to answer: the message is empty.", next_step="Type a message.")
        entries = request.fields.get("conversation") or []
        turns = _turns(entries)
        yield from self.ready(request)
        imitates = self.model.backbone.parameter_count() < IMITATES_BELOW
        places = _plain_places(entries) if imitates else list(range(len(entries)))
        with self.profile(request) as (store, settings):
            bank = self._bank(store, settings)
            max_tokens = request.fields.get("max_tokens") or settings.whole("max_answer_tokens")
            sampling = None
            if request.fields.get("sample"):
                sampling = Sampling(
                    settings.number("temperature"), settings.number("top_p"), request.fields.get("seed")
                )
            elif request.fields.get("own_sampling"):
                sampling = own_sampling(self.model.backbone.generation, request.fields.get("seed"))
            cache = self._conversation_cache(store, settings)
            for problem in self.bank_cache.problems(store):
                request.emit("progress", phase="problem", fraction=None, text=problem)
        answer = recall(
            self.model.backbone,
            bank,
            text,
            route=request.text("route", AUTO_ROUTE),
            conversation=[turns[place] for place in places],
            whole=turns,
            cache=cache,
            sampling=sampling,
            max_tokens=max_tokens,
            cancelled=request.cancelled.is_set,
            shuns_repeats=imitates,
        )
        request.takes_turns = True
        for part in answer:
            if isinstance(part, Routed):
                request.emit(
                    "route",
                    **_routed(part),
                    forced=part.forced,
                    segment=part.segment,
                    part=part.part,
                    call=part.route in bank.schemas,
                    guest=part.route in bank.guests,
                )
            elif isinstance(part, Piece):
                request.emit("token", text=part.text)
            else:
                memory = bank.memories.get(part.routed.route)
                cut, first = part.turns_cut, _first_message(entries)
                behind = [*places, len(entries)][first + cut]
                context = {
                    "tokens": part.context_tokens,
                    "length": self.model.backbone.context_length,
                    # Counted in the client's conversation, of which the model may not have been shown all.
                    "messages_cut": max(behind - first if cut else 0, part.whole_cut),
                }
                request.emit("done", result=_answer(part, 0 if memory is None else memory.steering.span, context))
            yield

    def _conversation_cache(self, store: ProfileStore, settings: Settings) -> OwnedCache:
        """What has been run of this profile's conversations; going to another profile drops the others'."""
        if self._conversations is None:
            self._conversations = ConversationCache(self.model.backbone, settings.number("conversation_cache_mb"))
        owner = str(store.folder)
        self._conversations.forget_others(owner)
        return self._conversations.of(owner)

    def route(self, request: Request) -> Iterator[None]:
        texts = request.fields.get("texts")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UsageError("Request 'route' needs a list of texts.")
        yield from self.ready(request)
        with self.profile(request) as (store, settings):
            bank = self._bank(store, settings)
        routes: list[dict[str, Any]] = []
        for start in range(0, len(texts), _ROUTE_BATCH):
            part = texts[start : start + _ROUTE_BATCH]
            routes += [_routed(r) for r in route_messages(self.model.backbone, bank, part)]
            request.emit("progress", phase="route", fraction=len(routes) / len(texts), text="Routing")
            yield
            if request.cancelled.is_set():
                break
        request.emit("done", result={"routes": routes})

    def train(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        job = f"train in {request.text('profile')}"
        with self._job(request, job), self.profile(request) as (store, settings):
            yield from train(request, store, settings, self.paths, self.model, self.bank_cache)

    def adapt(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self._job(request, f"adapt {self.model.backbone.model_id}"):
            yield from adapt(request, self.paths, self.model)

    def prepare(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self._job(request, f"prepare {self.model.backbone.model_id}"):
            yield from prepare(request, self.paths, self.model)

    def eval(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        pairs = request.fields.get("pairs")
        given = None if pairs is None else [_pair(entry) for entry in pairs]
        with self.profile(request) as (store, settings):
            yield from evaluate(request, store, settings, self.model, self.bank_cache, given)

    def bank_probes(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self.profile(request) as (store, _):
            yield from make_probes(request, store, self.model, self.bank_cache)

    def bank_check(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self.profile(request) as (store, _):
            yield from check_bank(request, store, self.model, self.bank_cache)

    def overlap(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self.profile(request) as (store, settings):
            yield from overlap(request, store, settings, self.model, self.bank_cache, self.vectors)

    def effect(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self.profile(request) as (store, settings):
            yield from effect(request, store, settings, self.model, self.bank_cache, self.vectors)

    def draft(self, request: Request) -> Iterator[None]:
        yield from self.ready(request)
        with self.profile(request) as (store, settings):
            bank = self._bank(store, settings)
            yield from draft(request, store, self.model.backbone, bank)

    def title(self, request: Request) -> Iterator[None]:
        """A title for a chat, from its first question and answer; an empty one where the model has none to give.

        Never loads a model: titles are for idle time.
        """
        question, answer = request.text("question"), request.text("answer")
        title: str | None = ""
        if self.model.loaded:
            for step in propose_title(self.model.backbone, question, answer, cancelled=request.cancelled.is_set):
                title = step
                yield
        request.emit("done", result={"title": title or ""})
        yield


def _turns(entries: list[Any]) -> list[Turn]:
    """A conversation; only its first entry may be a system text."""
    roles = [("system", "user", "assistant"), *[("user", "assistant")] * len(entries)]
    turns = []
    for entry, known in zip(entries, roles, strict=False):
        if not isinstance(entry, dict) or entry.get("role") not in known:
            raise UsageError("A conversation is a list of {role: user|assistant, content}; system may come first.")
        turns.append(_turn(entry))
    return turns


def _turn(entry: dict[str, Any]) -> Turn:
    return Turn(str(entry["role"]), str(entry.get("content", "")))


def _first_message(entries: list[dict[str, Any]]) -> int:
    """The place behind the system text, if there is one."""
    return 1 if entries and entries[0]["role"] == "system" else 0


def _plain_places(entries: list[dict[str, Any]]) -> list[int]:
    """The places of messages that no procedure answered: each answer goes with the message before it.

    A system text stays.
    """
    first = _first_message(entries)
    kept = list(range(first))
    for place in range(first, len(entries) - 1, 2):
        if entries[place + 1].get("route", NONE_ROUTE) == NONE_ROUTE:
            kept += [place, place + 1]
    return kept


def _pair(entry: Any) -> ExamplePair:
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("input"), str)
        or not isinstance(entry.get("response"), str)
    ):
        raise UsageError("Pairs are a list of {input, response}.")
    return ExamplePair(entry["input"], entry["response"], tuple(entry.get("references") or ()))


def _routed(routed: Routed) -> dict[str, Any]:
    return {
        "route": routed.route,
        "probability": routed.probability,
        "candidates": [{"route": c.route, "probability": c.probability} for c in routed.candidates],
    }


def _answer(answer: Answer, span: int, context: dict[str, int]) -> dict[str, Any]:
    timing = answer.timing
    return {
        **_routed(answer.routed),
        "response": answer.response,
        "timing": {
            "prefill": timing.prefill,
            "route": timing.route,
            "first_token": timing.first_token,
            "total": timing.total,
            "tokens": timing.tokens,
        },
        "segments": [segment.as_dict() for segment in answer.segments],
        "stopped": answer.stopped,
        "span": span,
        "context": context,
        "prompt_tokens": answer.prompt_tokens,
        # Said of those answers only.
        **({"without_history": True} if answer.without_history else {}),
    }
