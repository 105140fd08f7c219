"""The engine's one loaded backbone and its router basis; loads lazily, with progress.

Knows where models lie (``AppPaths``) and asks ``tokmem_desk`` to fetch, convert and load them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from profiles.atomic import write_bytes
from profiles.paths import AppPaths, private_folder
from tokmem_desk.catalogue import ADAPTED, ADAPTER_FILE, PRIOR_FILE, own_name
from tokmem_desk.device import DeviceChoice, choose_device, memory_in_use_mb
from tokmem_desk.errors import BadInputError, IncompatibleError, OfflineError, StorageError, TokmemError
from tokmem_desk.model_record import model_family, read_record
from tokmem_desk.model_store import ModelStore, drop_fitted_to_adapter, not_adapted
from tokmem_desk.shipped import shipped_file
from trainer.config import DEFAULT_SPAN

if TYPE_CHECKING:
    from tokmem_desk.backbone import Backbone
    from tokmem_desk.features import RouterBasis
    from tokmem_desk.splitting import Splitter
    from trainer.prior import Prior

Report = Callable[[str, float | None, str], None]
"""Receives phase, share done (None when unknown) and a text for people."""

ROUTER_FILE = "router.safetensors"
SPLITTER_FILE = "splitter.safetensors"

_Fitted = TypeVar("_Fitted", "RouterBasis", "Splitter")


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
        self._splitter: Splitter | None = None
        self._prior: Prior | None = None
        self._choice: DeviceChoice | None = None

    @property
    def backbone(self) -> Backbone:
        """The loaded backbone; only after ``load`` has run to its end."""
        assert self._backbone is not None
        return self._backbone

    @property
    def basis(self) -> RouterBasis:
        """The router basis; only after ``load`` has run to its end."""
        assert self._basis is not None
        return self._basis

    @property
    def splitter(self) -> Splitter:
        """What finds the requests of a message; only after ``load`` has run to its end."""
        assert self._splitter is not None
        return self._splitter

    @property
    def prior(self) -> Prior | None:
        """Where memories start; None where none was learned for this model yet. Only after ``load``."""
        return self._prior

    @property
    def loaded(self) -> bool:
        return self._backbone is not None and self._basis is not None and self._splitter is not None

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
        """Fetch, convert and load what is not there yet; yields so that others get a turn.

        Raises:
            TokmemError: of every kind that fetching, converting and loading know.
        """
        if self.loaded:
            return
        from tokmem_desk.backbone import load_backbone
        from tokmem_desk.splitting import Splitter, fit_splitter, shipped_splitter

        if self._backbone is None:
            folder = self.store.ensure(self._wanted, self.choice, progress=report, cancelled=cancelled)
            report("load", None, "Loading the model")
            record = read_record(folder)
            # Only now is the family known, and some need another dtype on cards without bfloat16.
            self._choice = choose_device(self._device, model_family(folder))
            licence = record.licence if record is not None else ""
            model_id = record.id if record is not None else self._wanted
            self._folder = folder
            backbone = load_backbone(folder, self._choice, model_id, licence)
            # Kept only now: where the adapter cannot be used, the next request shall not find the plain model instead.
            self._backbone = self._with_adapter(backbone) if self.adapted else backbone
            yield
        if self._basis is None:
            self._basis = yield from self._fitted(
                ROUTER_FILE,
                *_calibrated_anew(),
                "Measuring how this model tells messages apart (once per model)",
                report,
            )
        self._splitter = self._splitter or shipped_splitter(self._backbone)
        if self._splitter is None:
            self._splitter = yield from self._fitted(
                SPLITTER_FILE,
                Splitter.from_bytes,
                fit_splitter,
                "Learning where one request ends and the next begins (once per model)",
                report,
            )
        self._backbone.token_space = self._splitter.space
        self._prior = self._learned_prior(report)

    @property
    def prior_file(self) -> Path:
        """Where a prior that was learned on this computer lies, or would."""
        return self._beside(PRIOR_FILE)

    def _beside(self, name: str) -> Path:
        return self._folder / own_name(name, adapted=self.adapted)

    def _learned_prior(self, report: Report) -> Prior | None:
        """The prior learned here, else the one that ships; it takes too long to learn one unasked."""
        from trainer.prior import Prior, shipped_prior

        try:
            return Prior.from_bytes(self.prior_file.read_bytes(), self.backbone)
        except FileNotFoundError:
            pass
        except (BadInputError, OSError) as error:
            report("load", None, f"{PRIOR_FILE} cannot be used: {error}")
        return shipped_prior(self.backbone)

    def keep_prior(self, data: bytes) -> None:
        """Take a prior into use and keep it beside the model.

        Raises:
            TokmemError: it is not of this model, or cannot be written.
        """
        from trainer.prior import Prior

        prior = Prior.from_bytes(data, self.backbone)
        write_bytes(self.prior_file, data)
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
        write_bytes(self.adapter_file, data)
        drop_fitted_to_adapter(self._folder)

    def _with_adapter(self, plain: Backbone) -> Backbone:
        """With the adapter made here, else with the one that ships: memories of one are of no use with the other.

        So an adapter made here that cannot be used is an error, never a reason to take the shipped one.
        """
        from tokmem_desk.adapter import adapted

        anew = f"tokmem-desk adapt --model {plain.model_id}"
        try:
            data = self.adapter_file.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(
                f"{self.adapter_file} cannot be read ({error.strerror}).", next_step=f"Make it anew: {anew}"
            ) from error
        else:
            try:
                return adapted(plain, data)
            except TokmemError as error:
                error.next_step = f"Make it anew: {anew}. Or: tokmem-desk model remove {plain.model_id}{ADAPTED}"
                raise
        try:
            return adapted(plain, shipped_file("adapter", plain.model_id).read_bytes())
        except FileNotFoundError as error:
            raise not_adapted(plain.model_id) from error
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
    ) -> Generator[None, None, _Fitted]:
        """Read what was fitted to the model before, or fit it and keep it with the data and beside the model.

        With the data, since fitting anew on other threads, libraries or cards gives a space turned otherwise, and what
        memories know of the first one would be worth nothing after ``model remove`` and ``model pull``. Beside the
        model for others who use the same cache, such as ``demo``, whose data is temporary.
        """
        stored = self._paths.fitted / f"{self.backbone.fingerprint.digest[:16]}-{name}"
        for file in (stored, self._beside(name)):
            try:
                data = file.read_bytes()
                fitted = read(data, self.backbone)
            except FileNotFoundError:
                continue
            except (BadInputError, OSError) as error:
                report("calibrate", None, f"{name} cannot be used: {error}")
                continue
            if file != stored:
                self._keep_fitted(stored, data, report)
            return fitted
        made: _Fitted | None = None
        for done in fit(self.backbone):
            if isinstance(done, float):
                report("calibrate", done, text)
                yield
            else:
                made = done
        assert made is not None
        data = made.to_bytes()
        for file in (stored, self._beside(name)):
            self._keep_fitted(file, data, report)
        return made

    def _keep_fitted(self, file: Path, data: bytes, report: Report) -> None:
        try:
            private_folder(file.parent)
            write_bytes(file, data)
        except TokmemError as error:
            # Only costs time at the next start, where the same comes out.
            report("calibrate", 1.0, f"{file.name} could not be kept: {error}")

    def unload(self) -> None:
        """Let go of the model. Ending the process is the surer way to free memory."""
        self._backbone = None
        self._basis = None
        self._splitter = None
        self._prior = None

    def describe(self) -> dict[str, Any]:
        """The result of ``load``: what runs, where and why."""
        backbone = self.backbone
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
            "memory_mb": round(memory_in_use_mb(self.choice.device)),
            "router": self.basis.recipe,
            "prior": self.prior.digest if self.prior is not None else None,
            "identity": backbone.fingerprint.as_dict(),
            "pid": os.getpid(),
            # Said of those models only: see tokmem_desk.recompute.
            **({"recomputes": True} if backbone.layout.recurrent else {}),
        }


def _calibrated_anew() -> tuple[
    Callable[[bytes, Backbone], RouterBasis], Callable[[Backbone], Iterator[float | RouterBasis]]
]:
    """How to read a router's basis, and how to fit one.

    Where only the calibration of a stored one is out of date, it is fitted anew and the space stays: in another one all
    that memories know of their messages would be worth nothing.
    """
    from tokmem_desk.features import OldCalibrationError, RouterBasis, fit_basis

    stored: list[RouterBasis] = []

    def read(data: bytes, backbone: Backbone) -> RouterBasis:
        try:
            found = RouterBasis.from_bytes(data, backbone)
        except OldCalibrationError as error:
            stored.append(error.basis)
            raise
        if stored and found.digest != stored[0].digest:
            raise BadInputError("It is of another fit than the one in use.")
        return found

    def fit(backbone: Backbone) -> Iterator[float | RouterBasis]:
        for done in fit_basis(backbone):
            yield stored[0].calibrated_as(done) if stored and isinstance(done, RouterBasis) else done

    return read, fit
