"""The engine's one loaded backbone and its router basis; loads lazily, with progress.

Knows where models lie (``AppPaths``) and asks ``tokmem_desk`` to fetch, convert and load them.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Generator, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from profiles.files.atomic import write_bytes
from profiles.files.paths import AppPaths, private_folder
from tokmem_desk.errors import (
    BadInputError,
    DamagedError,
    IncompatibleError,
    InterruptedByUser,
    OfflineError,
    OutOfMemoryError,
    StorageError,
    TokmemError,
)
from tokmem_desk.models.catalogue import ADAPTED, ADAPTER_FILE, PRIOR_FILE, own_name
from tokmem_desk.models.fetch import disk_errors
from tokmem_desk.models.record import RECORD_NAME, ledger_of, model_family, read_record
from tokmem_desk.models.shipped import read_whole, shipped_file
from tokmem_desk.models.store import BackgroundCheck, ModelStore, damaged, drop_fitted_to_adapter, not_adapted
from tokmem_desk.system.device import DeviceChoice, choose_device, memory_in_use_mb
from tokmem_desk.system.file_checks import Ledger, fitted_ledger, read_checked
from trainer.config import DEFAULT_SPAN

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.references.finder import ReferenceFinder
    from tokmem_desk.routing.earlier_space import EarlierSpace
    from tokmem_desk.routing.features import RouterBasis
    from tokmem_desk.routing.segment_tagger import SegmentTagger
    from trainer.memory_start import Prior

Report = Callable[[str, float | None, str], None]
"""Receives phase, share done (None when unknown) and a text for people."""

ROUTER_FILE = "router.safetensors"
EARLIER_ROUTER_FILE = "earlier-router.safetensors"
SEGMENT_TAGGER_FILE = "splitter.safetensors"
REFERENCES_FILE = "references.safetensors"

_Fitted = TypeVar("_Fitted", "RouterBasis", "SegmentTagger", "ReferenceFinder")


def _free_name(path: Path) -> Path:
    """A free name beside ``path``, for a file that is set aside."""
    names = (path.with_name(f"{path.name}.put-aside-{number}") for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def _reason(error: TokmemError | OSError) -> str:
    return error.message if isinstance(error, TokmemError) else f"{error.strerror or error}."


def _report_nothing(_phase: str, _share: float | None, _text: str) -> None:
    """Nobody listens yet."""


class LoadedModel:
    """What is loaded, or will be with the first request."""

    def __init__(self, paths: AppPaths, model_id: str, device: str, *, offline: bool) -> None:
        self._paths = paths
        self.store = ModelStore(paths.models, offline=offline)
        self.adapted = model_id.endswith(ADAPTED)
        self._wanted = model_id.removesuffix(ADAPTED)
        self._device = device
        self._backbone: Backbone | None = None
        self._basis: RouterBasis | None = None
        self._segment_tagger: SegmentTagger | None = None
        self._references: ReferenceFinder | None = None
        self._prior: Prior | None = None
        self._fitting: Iterator[None] | None = None
        self._report: Report = _report_nothing
        self._choice: DeviceChoice | None = None

    @property
    def name(self) -> str:
        """As it was asked for."""
        return f"{self._wanted}{ADAPTED * self.adapted}"

    @property
    def wanted_device(self) -> str:
        """The setting of that name."""
        return self._device

    @property
    def backbone(self) -> Backbone:
        """The loaded backbone; only after ``load_to_chat`` has run to its end."""
        assert self._backbone is not None
        return self._backbone

    @property
    def basis(self) -> RouterBasis:
        """The router basis; only after ``fit`` has run to its end."""
        assert self._basis is not None
        return self._basis

    @cached_property
    def earlier_space(self) -> EarlierSpace | None:
        """The space that this model's router had before the one that ships; None where it had none, or another is used.

        Only after ``fit`` has run to its end.
        """
        from tokmem_desk.routing.earlier_space import earlier_space

        return earlier_space(self.backbone, self._earlier_fit) if self.basis.taught else None

    @property
    def _earlier_fit(self) -> Path:
        """Where the fit lies, or would, that this computer had in the earlier space."""
        return self._paths.fitted / f"{self.backbone.fingerprint.digest[:16]}-{EARLIER_ROUTER_FILE}"

    def _is_surpassed(self, basis: RouterBasis) -> bool:
        """Whether another space ships and can be used; then what turns memories of this fit into it is kept."""
        from tokmem_desk.routing.earlier_space import fit_to_bytes
        from tokmem_desk.routing.features import RouterBasis
        from tokmem_desk.routing.shipped_router import shipped_recipe, shipped_router_bytes

        if shipped_recipe(self.backbone) in (None, basis.recipe):
            return False
        try:
            RouterBasis.from_bytes(shipped_router_bytes(self.backbone) or b"", self.backbone)
        except (BadInputError, DamagedError):
            return False
        if not self._earlier_fit.exists():
            self._keep_fitted(self._earlier_fit, fitted_ledger(self._paths.fitted), fit_to_bytes(basis), self._report)
        return True

    @property
    def segment_tagger(self) -> SegmentTagger:
        """The segment tagger; only after ``fit`` has run to its end."""
        assert self._segment_tagger is not None
        return self._segment_tagger

    @property
    def references(self) -> ReferenceFinder:
        """What finds references; only after ``fit`` has run to its end."""
        assert self._references is not None
        return self._references

    @property
    def prior(self) -> Prior | None:
        """Where memories start; None where none was learned for this model yet. Only after ``load_to_chat``."""
        return self._prior

    @property
    def loaded(self) -> bool:
        """Whether plain chat can be answered."""
        return self._backbone is not None

    @property
    def fitted(self) -> bool:
        """Whether procedures can be routed to and trained too."""
        return self._basis is not None and self._segment_tagger is not None and self._references is not None

    @property
    def choice(self) -> DeviceChoice:
        if self._choice is None:
            self._choice = choose_device(self._device)
        return self._choice

    def refuse_download(self) -> None:
        """Raise OfflineError, with size and licence, when loading would have to download."""
        source = self.store.resolve(self._wanted)
        if self.loaded or source.kind not in ("wheel", "hub") or self.store.is_ready(self._wanted):
            return
        damage = self.store.damage(self._wanted)
        if damage:
            raise damaged(source.id, damage)
        entry = source.entry
        size = f", {entry.download_bytes / 2**20:,.0f} MiB" if entry is not None else ""
        licence = f", {entry.licence}" if entry is not None else ""
        raise OfflineError(
            f"The model {source.id} is not on this computer yet{size}{licence}.",
            next_step=f"Agree to the download, or run: tokmem-desk model pull {self._wanted} --yes",
        )

    def fetch(self, report: Report, cancelled: Callable[[], bool]) -> str:
        """Fetch and convert the model without loading it; returns its id.

        Raises:
            TokmemError: of every kind that fetching and converting know.
        """
        self.store.ensure(self._wanted, self.choice, progress=report, cancelled=cancelled)
        return self.store.resolve(self._wanted).id

    def load(self, report: Report, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Get ready for everything; yields so that others get a turn.

        Raises:
            TokmemError: of every kind that fetching, converting and loading know.
        """
        yield from self.load_to_chat(report, cancelled)
        yield from self.fit(report, cancelled)

    def load_to_chat(self, report: Report, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Fetch, convert and load the model where it is not there yet: all that plain chat needs.

        Raises:
            TokmemError: of every kind that fetching, converting and loading know.
        """
        if self.loaded:
            return
        try:
            backbone = self._load_whole(report, cancelled)
        except DamagedError as error:
            # The model's own source is on this computer, so nothing is lost and nobody need be asked.
            if self.store.resolve(self._wanted).kind not in ("folder", "gguf"):
                raise
            report("convert", None, f"{error.message} It is converted again.")
            backbone = self._load_whole(report, cancelled)
        # Kept only now: where the adapter cannot be used, the next request shall not find the plain model instead.
        self._backbone = self._with_adapter(backbone) if self.adapted else backbone
        self._prior = self._learned_prior(report)
        yield

    def fit(self, report: Report, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Read, or learn once per model, how it tells messages apart and where requests begin: procedures need both.

        A fit that another request has begun goes on where it is.

        Raises:
            InterruptedByUser: it was cancelled; the next request goes on with it.
            TokmemError: the model cannot run.
        """
        while not self.fitted:
            if cancelled():
                raise InterruptedByUser("Learning about the model was stopped.", next_step="It goes on when needed.")
            if self._fitting is None:
                self._fitting = self._fit()
            self._report = report
            try:
                next(self._fitting)
            except StopIteration:
                self._fitting = None
            except BaseException:
                self._fitting = None
                raise
            yield

    def _fit(self) -> Iterator[None]:
        """The steps of ``fit``; they report to whoever takes them at that time."""
        from tokmem_desk.references.finder import ReferenceFinder, shipped_reference_finder
        from tokmem_desk.references.fitting import fit_reference_finder
        from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger, shipped_segment_tagger
        from tokmem_desk.routing.shipped_router import shipped_router_bytes

        def report(phase: str, share: float | None, text: str) -> None:
            self._report(phase, share, text)

        if self._basis is None:
            self._basis = yield from self._fitted(
                ROUTER_FILE,
                *_calibrated_anew(self._parts_folder(ROUTER_FILE), self._is_surpassed),
                "Measuring how this model tells messages apart (once per model)",
                report,
                shipped_router_bytes,
            )
            self.backbone.token_weights = self._basis.token_weights
        tagger = shipped_segment_tagger(self.backbone)
        if tagger is None:
            tagger = yield from self._fitted(
                SEGMENT_TAGGER_FILE,
                SegmentTagger.from_bytes,
                partial(fit_segment_tagger, folder=self._parts_folder(SEGMENT_TAGGER_FILE)),
                "Learning where one request ends and the next begins (once per model)",
                report,
            )
        self.backbone.token_space = tagger.space
        self._segment_tagger = tagger
        finder = shipped_reference_finder(self.backbone)
        if finder is None:
            finder = yield from self._fitted(
                REFERENCES_FILE,
                ReferenceFinder.from_bytes,
                partial(fit_reference_finder, folder=self._parts_folder(REFERENCES_FILE)),
                "Learning what words like 'it' refer to (once per model)",
                report,
            )
        self._references = finder

    def take_fitted(
        self, basis: RouterBasis, segment_tagger: SegmentTagger, references: ReferenceFinder, prior: Prior | None
    ) -> None:
        """Use what another computer fitted to this model, instead of reading or fitting it; nothing is kept."""
        self._basis, self._segment_tagger, self._references = basis, segment_tagger, references
        self._prior = prior
        self.backbone.token_weights = basis.token_weights
        self.backbone.token_space = segment_tagger.space

    def _parts_folder(self, name: str) -> Path:
        """Where a fit keeps what is done, beside the model: with that it goes."""
        return self._folder / f".fitting-{own_name(name, adapted=self.adapted)}"

    def _load_whole(self, report: Report, cancelled: Callable[[], bool]) -> Backbone:
        """Load the converted model while its files are compared with what was written.

        Raises:
            DamagedError: one is another; what was loaded of it is let go.
        """
        from tokmem_desk.backbone.backbone import load_backbone

        folder = self.store.ensure(self._wanted, self.choice, progress=report, cancelled=cancelled)
        report("load", None, "Loading the model")
        record = read_record(folder)
        if record is None:
            raise damaged(self._wanted, f"{RECORD_NAME} cannot be read")
        check = BackgroundCheck(folder, record)
        # Only now is the family known, and some need another dtype on cards without bfloat16.
        self._choice = choose_device(self._device, model_family(folder))
        self._folder = folder
        try:
            backbone = load_backbone(folder, self._choice, record.id, record.licence)
        except OutOfMemoryError:
            check.give_up()
            raise
        except TokmemError:
            # A damaged file is why, if there is one.
            check.finish()
            raise
        check.finish()
        return backbone

    @property
    def prior_file(self) -> Path:
        """Where a prior that was learned on this computer lies, or would."""
        return self._beside(PRIOR_FILE)

    def _beside(self, name: str) -> Path:
        return self._folder / own_name(name, adapted=self.adapted)

    def _learned_prior(self, report: Report) -> Prior | None:
        """The prior learned here, else the one that ships; it takes too long to learn one unasked."""
        from trainer.memory_start import Prior, shipped_prior

        try:
            return read_checked(
                self.prior_file, ledger_of(self._folder), lambda data: Prior.from_bytes(data, self.backbone)
            )
        except FileNotFoundError:
            pass
        except (BadInputError, DamagedError, OSError) as error:
            anew = f"Learn it anew: tokmem-desk model prepare {self._wanted}{ADAPTED * self.adapted}"
            report("load", None, f"{PRIOR_FILE} cannot be used: {_reason(error)} {anew}")
        return shipped_prior(self.backbone)

    def keep_prior(self, data: bytes) -> None:
        """Take a prior into use and keep it beside the model.

        Raises:
            TokmemError: it is not of this model, or cannot be written.
        """
        from trainer.memory_start import Prior

        prior = Prior.from_bytes(data, self.backbone)
        self._keep(self.prior_file, data, ledger_of(self._folder))
        self._prior = prior

    @property
    def adapter_file(self) -> Path:
        """Where an adapter that was made on this computer lies, or would."""
        return self._folder / ADAPTER_FILE

    def keep_adapter(self, data: bytes) -> None:
        """Keep an adapter beside the model; what was fitted to an earlier one goes.

        Raises:
            StorageError: it cannot be written.
        """
        self._keep(self.adapter_file, data, ledger_of(self._folder))
        drop_fitted_to_adapter(self._folder)

    def _with_adapter(self, plain: Backbone) -> Backbone:
        """With the adapter made here, else with the one that ships: memories of one are of no use with the other.

        So an adapter made here that cannot be used is an error, never a reason to take the shipped one.
        """
        from tokmem_desk.paper.adapter import adapted

        anew = f"tokmem-desk adapt --model {plain.model_id}"
        try:
            return read_checked(self.adapter_file, ledger_of(self._folder), lambda data: adapted(plain, data))
        except FileNotFoundError:
            pass
        except TokmemError as error:
            error.next_step = f"Make it anew: {anew}. Or: tokmem-desk model remove {plain.model_id}{ADAPTED}"
            raise
        except OSError as error:
            raise StorageError(
                f"{self.adapter_file} cannot be read ({error.strerror}).", next_step=f"Make it anew: {anew}"
            ) from error
        try:
            return adapted(plain, read_whole(shipped_file("adapter", plain.model_id)))
        except FileNotFoundError as error:
            raise not_adapted(plain.model_id) from error
        except DamagedError:
            raise
        except IncompatibleError as error:
            raise IncompatibleError(
                f"The adapter that comes with the program is not for {plain.model_id} as it runs on this computer, "
                f"in {self.choice.compute_dtype}.",
                next_step=f"Make one here: {anew}",
            ) from error

    def _fitted(
        self,
        name: str,
        read: Callable[[bytes, Backbone], _Fitted],
        fit: Callable[[Backbone], Iterator[float | _Fitted]],
        text: str,
        report: Report,
        shipped: Callable[[Backbone], bytes | None] = lambda _: None,
    ) -> Generator[None, None, _Fitted]:
        """Read what was fitted to the model before, else what ships, else fit it.

        It is kept with the data and beside the model.

        With the data, since fitting anew on other threads, libraries or cards gives a space turned otherwise, and what
        memories know of the first one would be worth nothing after ``model remove`` and ``model pull``. Beside the
        model for others who use the same cache, such as ``demo``, whose data is temporary.
        """
        stored = self._paths.fitted / f"{self.backbone.fingerprint.digest[:16]}-{name}"
        places = ((stored, fitted_ledger(self._paths.fitted)), (self._beside(name), ledger_of(self._folder)))
        unusable = False
        for file, ledger in places:
            try:
                data, fitted = read_checked(file, ledger, lambda found: (found, read(found, self.backbone)))
            except FileNotFoundError:
                continue
            except (BadInputError, DamagedError, OSError) as error:
                report("calibrate", None, f"{file} cannot be used: {_reason(error)}")
                unusable = True
                continue
            if file != stored:
                self._keep_fitted(stored, places[0][1], data, report)
            return fitted
        try:
            data = shipped(self.backbone) or b""
            made = read(data, self.backbone) if data else None
        except BadInputError:  # of a model that is called alike, or of another fit than memories know
            made = None
        if made is not None:
            for file, ledger in places:
                self._keep_fitted(file, ledger, data, report)
            return made
        if unusable:
            text += "; the stored one cannot be used"
        for done in fit(self.backbone):
            if isinstance(done, float):
                report("calibrate", done, text)
                yield
            else:
                made = done
        assert made is not None
        data = made.to_bytes()
        for file, ledger in places:
            self._keep_fitted(file, ledger, data, report)
        return made

    def _keep_fitted(self, file: Path, ledger: Ledger, data: bytes, report: Report) -> None:
        try:
            private_folder(file.parent)
            self._keep(file, data, ledger)
        except TokmemError as error:
            # Only costs time at the next start, where the same comes out.
            report("calibrate", 1.0, f"{file.name} could not be kept: {error}")

    @staticmethod
    def _keep(file: Path, data: bytes, ledger: Ledger) -> None:
        """Write a file and remember its digest; a kill in between leaves either file, and neither counts as damaged.

        Raises:
            StorageError: it cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        ledger.announce(file.name, sha256)
        if file.is_dir():
            # A folder of this name may hold a person's files: keep it.
            with disk_errors(f"Moving {file} away"):
                file.replace(_free_name(file))
        write_bytes(file, data)
        ledger.settle(file, sha256)

    def describe(self) -> dict[str, Any]:
        """The result of ``load``: what runs, where and why."""
        from tokmem_desk.routing.features import FeatureLayers, recipe_of
        from tokmem_desk.routing.shipped_router import shipped_recipe

        backbone = self.backbone
        recipe = self._basis.recipe if self._basis is not None else shipped_recipe(backbone)
        return {
            "id": backbone.model_id,
            "fingerprint": backbone.fingerprint.digest,
            "family": backbone.fingerprint.family,
            "device": self.choice.device,
            "dtype": self.choice.compute_dtype,
            "reason": self.choice.reason,
            "parameters": backbone.parameter_count(),
            "licence": backbone.licence,
            "span_default": DEFAULT_SPAN,
            "context": backbone.context_length,
            "quantization": backbone.fingerprint.quantization,
            "form": "layers" if backbone.rotates_keys else "rows",
            "memories": backbone.traits.strength,
            "memory_mb": round(memory_in_use_mb(self.choice.device)),
            "router": recipe or recipe_of(FeatureLayers.of(backbone.layer_count), backbone.fingerprint.digest),
            "prior": self.prior.digest if self.prior is not None else None,
            "identity": backbone.fingerprint.as_dict(),
            "pid": os.getpid(),
            # Said of those models only: see tokmem_desk.backbone.recurrent.
            **({"recomputes": True} if backbone.layout.recurrent else {}),
        }


def _calibrated_anew(
    folder: Path | None = None, is_surpassed: Callable[[RouterBasis], bool] = lambda _: False
) -> tuple[Callable[[bytes, Backbone], RouterBasis], Callable[[Backbone], Iterator[float | RouterBasis]]]:
    """How to read a router's basis, and how to fit one.

    Where only the calibration of a stored one is out of date, it is fitted anew and the space stays: in another one all
    that memories know of their messages would be worth nothing. A space that is surpassed by what ships is given up.

    Args:
        folder: where a fit keeps what is done.
        is_surpassed: whether a stored space is to be given up.
    """
    from tokmem_desk.routing.features import OldCalibrationError, RouterBasis, fit_basis

    stored: list[RouterBasis] = []

    def give_up(found: RouterBasis) -> None:
        if is_surpassed(found):
            raise BadInputError("A better one comes with the program now.")

    def read(data: bytes, backbone: Backbone) -> RouterBasis:
        try:
            found = RouterBasis.from_bytes(data, backbone)
        except OldCalibrationError as error:
            give_up(error.basis)
            stored.append(error.basis)
            raise
        give_up(found)
        if stored and found.digest != stored[0].digest:
            raise BadInputError("It is of another fit than the one in use.")
        return found

    def fit(backbone: Backbone) -> Iterator[float | RouterBasis]:
        for done in fit_basis(backbone, folder=folder):
            yield stored[0].calibrated_as(done) if stored and isinstance(done, RouterBasis) else done

    return read, fit
