"""The connector that vLLM loads: ``TokmemConnector`` of the module path ``tokmem_vllm.connector``.

What vLLM lets a connector do, and what is made of it. A connector may say that the first tokens of a prompt are
computed elsewhere, and is then given that request's own blocks to fill before the pass that computes the rest
(``get_num_new_matched_tokens``, ``start_load_kv``): so an answer's message and memory are loaded, and vLLM computes
the memory's rows and goes on. It may read blocks behind a pass (``wait_for_save``): so a message is read. It cannot
stop a prompt between two of its tokens, so that reading and answering cannot be one request; nor change what a token
id means for one request, so that rows come as embeddings of the prompt.

A request that cannot be served fails alone: its blocks are reported as not loaded, and vLLM, told to
(``kv_load_failure_policy="fail"``), ends it with an error. Why stands in the server's log.

Only this module, and ``offline``, import vLLM.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)

from tokmem_desk.errors import IncompatibleError, TokmemError
from tokmem_vllm.bank_service import MIB, BankService
from tokmem_vllm.model_facts import ModelFacts
from tokmem_vllm.paged import Places
from tokmem_vllm.readings import Readings
from tokmem_vllm.steered import Reading, computed_tokens, steered
from tokmem_vllm.versions import check_versions
from tokmem_vllm.wishes import Wish, check_wish, read_by, read_wish

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.forward_context import ForwardContext
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.request import Request

    from tokmem_desk.memory.memory import Memory

log = logging.getLogger("vllm.tokmem")


@dataclass(slots=True)
class Load:
    """An answer whose first tokens are to be put into its blocks.

    Attributes:
        start: tokens that are in its blocks already, from the prefix cache.
        tokens: in front of its rows.
        memory: whose edit and keys and values these are.
        fault: why it is to fail instead; empty where it is not.
    """

    request: str
    wish: Wish | None
    blocks: list[int]
    start: int
    tokens: int
    memory: Memory | None = None
    fault: str = ""


@dataclass(slots=True)
class Save:
    """A message that this pass reads to its end."""

    wish: Wish
    blocks: list[int]
    tokens: int


@dataclass(slots=True)
class Steps(KVConnectorMetadata):  # type: ignore[misc]
    """What the worker is to do in one pass."""

    loads: list[Load] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)


class TokmemConnector(KVConnectorBase_V1):  # type: ignore[misc]
    """Puts memories behind messages.

    Of ``kv_connector_extra_config`` it reads ``banks``, folder or URL of all people's memory files (``bank_service``),
    ``banks_mib``, how much of them is kept (default 512), ``banks_seconds``, how long the store may take (default 10),
    ``banks_options``, what fsspec is to know, and ``readings_mib``, how much memory messages may take that wait for
    their answer (default 512).
    """

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig) -> None:
        super().__init__(vllm_config=vllm_config, role=role, kv_cache_config=kv_cache_config)
        check_versions()
        if len(kv_cache_config.kv_cache_groups) != 1:
            raise IncompatibleError(
                "Layers of this model keep their keys and values in several ways.",
                next_step="Serve it with tokmem-desk's own engine: tokmem-desk serve",
            )
        parallel = vllm_config.parallel_config
        if parallel.tensor_parallel_size > 1 or parallel.pipeline_parallel_size > 1:
            raise IncompatibleError(
                "A model that is spread over several cards cannot have memories yet.",
                next_step="Start vLLM without tensor and pipeline parallelism.",
            )
        if self._kv_transfer_config.kv_load_failure_policy != "fail":
            raise IncompatibleError(
                "A memory that cannot be loaded would be computed as if it were text.",
                next_step='Start vLLM with "kv_load_failure_policy": "fail".',
            )
        extra = self._kv_transfer_config.get_from_extra_config
        self._waiting: dict[str, Load] = {}
        self._reading: dict[str, tuple[Wish, int]] = {}
        self._block_lists: dict[str, list[int]] = {}
        self._facts = ModelFacts.read(Path(vllm_config.model_config.model), vllm_config.model_config.dtype)
        if role == KVConnectorRole.SCHEDULER:
            self._banks = BankService(
                str(extra("banks", "")),
                self._facts,
                int(extra("banks_mib", 512)) * MIB,
                float(extra("banks_seconds", 10.0)),
                dict(extra("banks_options", {})),
            )
        if role == KVConnectorRole.WORKER:
            self._readings = Readings(int(extra("readings_mib", 512)) * MIB)
            self._caches: dict[int, torch.Tensor] = {}
            self._places: Places | None = None
            self._failed: set[int] = set()

    # --- in the scheduler ----------------------------------------------------------------------------

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int | None, bool]:
        """Tokens that the connector will bring, beyond those in the prefix cache; None while a memory is loaded."""
        try:
            wish = read_wish(request.kv_transfer_params)
            if wish is None or wish.reads:
                return 0, False
            check_wish(wish, request.num_prompt_tokens, request.cache_salt)
            if request.prompt_embeds is None:
                raise IncompatibleError("The prompt of an answer is made of embeddings.")
            memory = self._banks.ask(wish.person, wish.memory)
            if memory is None:
                return None, False
            ahead = request.num_prompt_tokens - wish.rows
            self._waiting[request.request_id] = Load(request.request_id, wish, [], num_computed_tokens, ahead, memory)
            return max(0, ahead - num_computed_tokens), False
        except TokmemError as error:
            # There is no way to refuse here: it is given blocks, and these are reported as not loaded.
            ahead = request.num_tokens - 1
            self._waiting[request.request_id] = Load(
                request.request_id, None, [], num_computed_tokens, ahead, fault=str(error)
            )
            return max(0, ahead - num_computed_tokens), False

    def update_state_after_alloc(self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int) -> None:
        """The request has its blocks."""
        load = self._waiting.get(request.request_id)
        if load is not None:
            load.blocks = list(blocks.get_block_ids()[0])
            if num_external_tokens <= 0 and not load.fault:
                del self._waiting[request.request_id]
        wish = None
        if load is None:
            wish = read_wish(request.kv_transfer_params)
        if wish is not None and wish.reads:
            self._reading[request.request_id] = (wish, request.num_prompt_tokens)
            self._block_lists[request.request_id] = []

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Steps:
        """What the worker is to do in the pass that was scheduled."""
        steps = Steps()
        scheduled = scheduler_output.num_scheduled_tokens
        for name in [name for name in self._waiting if name in scheduled]:
            steps.loads.append(self._waiting.pop(name))
        done: dict[str, int] = {}
        for new in scheduler_output.scheduled_new_reqs:
            if new.req_id in self._reading:
                self._block_lists[new.req_id] = list(new.block_ids[0])
                done[new.req_id] = new.num_computed_tokens
        cached = scheduler_output.scheduled_cached_reqs
        for place, name in enumerate(cached.req_ids):
            if name in self._reading:
                fresh = cached.new_block_ids[place]
                known = [] if name in cached.resumed_req_ids else self._block_lists[name]
                self._block_lists[name] = known + (list(fresh[0]) if fresh else [])
                done[name] = cached.num_computed_tokens[place]
        for name, before in done.items():
            wish, tokens = self._reading[name]
            if before + scheduled[name] >= tokens:
                del self._reading[name]
                steps.saves.append(Save(wish, self._block_lists.pop(name), tokens))
        return steps

    def request_finished(self, request: Request, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """What the connector knew of the request goes. Who had a message read is told which model read it."""
        for kept in (self._waiting, self._reading, self._block_lists):
            kept.pop(request.request_id, None)
        try:
            wish = read_wish(request.kv_transfer_params)
        except TokmemError:  # it was refused before
            return False, None
        return False, read_by(self._facts.fingerprint.digest) if wish is not None and wish.reads else None

    # --- in the worker -------------------------------------------------------------------------------

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Take in the cache of each layer, [blocks x heads x tokens x numbers]."""
        by_layer = {_layer_number(name): cache for name, cache in kv_caches.items()}
        wanted = sorted(self._facts.layer_numbers())
        if sorted(by_layer) != wanted:
            raise IncompatibleError(
                f"vLLM keeps keys and values of layers {sorted(by_layer)}, memories act on {wanted}.",
                next_step="Serve the folder that tokmem_vllm.plain_model wrote, as it is.",
            )
        self._caches = by_layer

    def _layout(self, context: ForwardContext) -> Places:
        if self._places is None:
            layer = next(one for name, one in context.no_compile_layers.items() if hasattr(one, "impl"))
            first = next(iter(self._caches.values()))
            heads, size = self._facts.key_shapes[0][1:3]
            if first.shape[1] != heads:
                raise IncompatibleError(f"vLLM keeps {first.shape[1]} heads of keys, the model has {heads}.")

            def write(keys: torch.Tensor, values: torch.Tensor, cache: torch.Tensor, slots: torch.Tensor) -> None:
                layer.impl.do_kv_cache_update(layer, keys, values, cache, slots)

            self._places = Places.found_by(write, first.new_zeros((2, *first.shape[1:])), size)
        return self._places

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Fill the blocks of answers, before the pass that goes on from them."""
        steps = self._get_connector_metadata()
        places = self._layout(forward_context) if steps.loads or steps.saves else None
        for load in steps.loads:
            try:
                if load.wish is None or load.memory is None or places is None:
                    raise IncompatibleError(load.fault)
                self._fill(load, load.wish, load.memory, places)
            except TokmemError as error:
                log.error("tokmem: request %s fails: %s", load.request, error)
                size = next(iter(self._caches.values())).shape[2]
                self._failed |= set(load.blocks[load.start // size : load.tokens // size + 1])

    def _fill(self, load: Load, wish: Wish, memory: Memory, places: Places) -> None:
        reading = self._readings.take(wish.person, wish.message, load.request)
        if computed_tokens(reading.length, memory) != load.tokens or memory.steering.rows.shape[0] != wish.rows:
            raise IncompatibleError(
                f"The request has {load.tokens} tokens before {wish.rows} rows; its message and memory have "
                f"{computed_tokens(reading.length, memory)} before {memory.steering.rows.shape[0]}."
            )
        under = steered(self._facts, reading, memory)
        blocks = torch.tensor(load.blocks)
        for group, keys, values in zip(self._facts.groups, under.keys, under.values, strict=True):
            for place, layer in enumerate(group.layers):
                own_keys, own_values = keys[place, :, load.start :], values[place, :, load.start :]
                places.write(self._caches[layer], blocks, load.start, own_keys, own_values)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Everything is loaded before the pass."""

    def save_kv_layer(self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any) -> None:
        """Layers are read together behind the pass."""

    def wait_for_save(self) -> None:
        """Read the messages that this pass has come to the end of."""
        steps = self._get_connector_metadata()
        if not steps.saves:
            return
        assert self._places is not None
        for save in steps.saves:
            blocks = torch.tensor(save.blocks)
            keys, values = [], []
            for group in self._facts.groups:
                found = [self._places.read(self._caches[layer], blocks, save.tokens) for layer in group.layers]
                keys.append(torch.stack([one for one, _ in found]))
                values.append(torch.stack([one for _, one in found]))
            self._readings.put(save.wish.person, save.wish.message, Reading(tuple(keys), tuple(values)))

    def get_finished(self, finished_req_ids: set[str]) -> tuple[None, None]:
        """Readings that these requests needed may go."""
        self._readings.done(finished_req_ids)
        return None, None

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks of requests that are to fail."""
        failed, self._failed = self._failed, set()
        return failed


def _layer_number(name: str) -> int:
    """Of ``model.layers.7.self_attn.attn``."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    if len(numbers) != 1:
        raise IncompatibleError(f"No number of a layer stands in {name!r}.")
    return numbers[0]
