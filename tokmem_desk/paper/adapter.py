"""An adapted backbone: the same frozen weights with a small LoRA beside them, switched on for some requests.

The adapter stands on the query and value projections and is never merged into the 4-bit weights, so one
load serves both: a ``Backbone`` and its adapted view share everything, and each switches the adapter to its
own state before it runs. An adapted backbone has a fingerprint of its own, so memories belong to one of the
two. With the adapter comes the row of its end-of-procedure token (``chain``). How an adapter is trained is in
``trainer.paper.adaptation``; that of the default model ships with the program.

To make the shipped one anew: ``tokmem-desk adapt --model default``, then copy ``adapter.safetensors`` from the model's
folder (``tokmem-desk model info default``) to ``tokmem_desk/fitted/`` under the name that
``tokmem_desk.models.shipped.shipped_name`` gives for its id.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models.catalogue import ADAPTED

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FORMAT = "tokmem-adapter"
VERSION = 1
RANK, ALPHA = 8, 16
TARGETS = ("q_proj", "v_proj")
_NAME = "adapted"


class Adapter:
    """The LoRA layers in a backbone's model; off unless an adapted view runs."""

    def __init__(self, backbone: Backbone, seed: int = 0) -> None:
        """Put fresh layers in.

        Raises:
            IncompatibleError: the model has no projections of the usual names.
        """
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS), lora_dropout=0.0, task_type="CAUSAL_LM"
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self._peft: Any = get_peft_model(backbone.model, config, adapter_name=_NAME)
            except ValueError as error:
                raise IncompatibleError(f"{backbone.model_id} cannot be adapted ({error}).") from error
        self._model = backbone.model
        self._layers = [m for m in self._peft.modules() if hasattr(m, "lora_A") and hasattr(m, "enable_adapters")]
        self._on = True
        self._peft.requires_grad_(False)
        self.switch(on=False)

    def switch(self, *, on: bool) -> None:
        """Let the layers act, or not."""
        if on != self._on:
            for layer in self._layers:
                # The library's own switch also sets which weights train; here that is the trainer's business.
                layer._disable_adapters = not on
            self._on = on

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trained weights by name."""
        return {name: p for name, p in self._peft.named_parameters() if "lora_" in name}

    @torch.no_grad()
    def fill(self, weights: dict[str, Tensor]) -> None:
        """Take weights over.

        Args:
            weights: by the names and in the shapes of ``parameters``; any dtype.

        Raises:
            BadInputError: names or shapes are not those of this model's layers.
        """
        own = self.parameters()
        if {name: tuple(p.shape) for name, p in own.items()} != {n: tuple(w.shape) for n, w in weights.items()}:
            raise BadInputError("The adapter is of another model.", next_step="Run: tokmem-desk adapt")
        for name, parameter in own.items():
            parameter.copy_(weights[name])

    def remove(self) -> None:
        """Take the layers out again."""
        self._peft.unload()
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config
        self._model.requires_grad_(False)


def adapter_to_bytes(backbone: Backbone, weights: dict[str, Tensor], eop: Tensor, settings: dict[str, Any]) -> bytes:
    """An adapter for ``backbone`` as a file.

    Args:
        weights: as ``Adapter.parameters`` has them; kept in half precision.
        eop: [d] row of the end-of-procedure token; kept in float32.
        settings: of its training, as JSON values.
    """
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "fingerprint": backbone.fingerprint.digest,
        "settings": json.dumps(settings),
    }
    tensors = {f"lora.{name}": w.detach().to(torch.float16) for name, w in weights.items()}
    tensors["eop"] = eop.detach().float()
    return save({name: t.cpu().contiguous() for name, t in tensors.items()}, metadata)


def adapted(backbone: Backbone, data: bytes, adapter: Adapter | None = None) -> Backbone:
    """The adapted view of a backbone; ``backbone`` itself answers as before.

    Args:
        data: an adapter file.
        adapter: layers that are in the model already; None puts them in.

    Raises:
        BadInputError: no such file, or damaged.
        IncompatibleError: made for another backbone.
    """
    anew = f"Run: tokmem-desk adapt --model {backbone.model_id}"
    try:
        metadata = read_metadata(data)
        tensors = load(data)
        if metadata.get("format") != FORMAT or metadata.get("version") != str(VERSION):
            raise ValueError("another format")
        weights = {k.removeprefix("lora."): t.float() for k, t in tensors.items() if k.startswith("lora.")}
        eop = tensors["eop"].float()
        if eop.shape != (backbone.hidden_size,) or not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            raise ValueError("values that cannot be")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise BadInputError(f"The adapter is damaged ({error}).", next_step=anew) from error
    if metadata.get("fingerprint") != backbone.fingerprint.digest:
        raise IncompatibleError(f"The adapter was made for another model than {backbone.model_id}.", next_step=anew)
    layers = adapter or Adapter(backbone)
    layers.fill(weights)
    return view(backbone, layers, hashlib.sha256(data).hexdigest(), eop.to(backbone.torch_device))


def view(backbone: Backbone, adapter: Adapter, digest: str, eop: Tensor | None) -> Backbone:
    """A backbone over the same modules that runs with the adapter on.

    Args:
        adapter: layers in the backbone's modules, switched on for the view's runs and off for the backbone's.
        digest: identity of the adapter; goes into the fingerprint.
        eop: [d] row of the end-of-procedure token, float32; None without one.
    """
    backbone.before_each_run(partial(adapter.switch, on=False))
    other = copy.copy(backbone)
    other.before_each_run(partial(adapter.switch, on=True))
    other.model_id = backbone.model_id + ADAPTED
    weights = hashlib.sha256(f"{backbone.fingerprint.weights_sha256} {digest}".encode()).hexdigest()
    other.fingerprint = replace(backbone.fingerprint, model_id=other.model_id, weights_sha256=weights)
    other.eop = eop
    other.token_space = None
    other.renew_prefixes()
    return other
