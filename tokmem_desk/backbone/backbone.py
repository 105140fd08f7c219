"""The frozen 4-bit language model: loaded once, shared by every profile.

A ``Backbone`` runs queries, extends them and reads logits. Banks are arguments of its callers, never part
of its state: nothing here changes with a profile. It does not fetch or convert models (``model_store``),
nor decide what to say (``recall``).

Letters: b batch, s tokens, v vocabulary, d hidden size; see ``query_state`` for the cache's letters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tokmem_desk.backbone.chat_format import ChatFormat
from tokmem_desk.backbone.fingerprint import Fingerprint, WeightsIdentity, identify_weights, take_fingerprint
from tokmem_desk.backbone.kv_state import CacheLayout, JoinedBatch, LayerRows, QueryState
from tokmem_desk.backbone.prefill import Prefilled, QueryRunner
from tokmem_desk.backbone.recurrent import (
    RecomputedBatch,
    RecomputedLayout,
    padding_is_safe,
    rerun,
    steps_with_cache,
)
from tokmem_desk.backbone.weight_formats import KernelForms, compute_in
from tokmem_desk.errors import IncompatibleError, OutOfMemoryError, TokmemError, first_line
from tokmem_desk.models.config_checks import check_config, check_layers, check_loaded, explain
from tokmem_desk.models.expert_weights import packed_in, packing_experts, parameter_count
from tokmem_desk.models.record import read_record
from tokmem_desk.system.device import DeviceChoice, is_out_of_memory

if TYPE_CHECKING:
    from tokmem_desk.backbone.token_space import TokenSpace


class Backbone:
    """One frozen causal language model with its tokenizer.

    Attributes:
        model_id: the id under which it was asked for.
        hidden_size, vocabulary_size, context_length: d, v, and tokens a conversation may hold.
        embedding_scale: factor between a row of the embedding matrix and the vector the model reads.
        steps_with_cache: False when even one answer runs from its beginning for each token, see ``recompute``.
        rotates_keys: True when keys can be moved to another position (rotary embeddings), which
            memories with per-layer keys and values need.
        eop: [d] row of the end-of-procedure token, where an adapter brought one.
        token_space: what readers and the segment tagger of this backbone look at; set by whoever fitted it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        device: DeviceChoice,
        model_id: str,
        licence: str = "",
        weights: WeightsIdentity | None = None,
    ) -> None:
        """Take over a loaded model; checks that the pieces it relies on do what they should.

        Args:
            weights: which weights these are; measured here when None.

        Raises:
            IncompatibleError: the model's cache, head or template is of a kind we cannot serve.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.device = device
        self.model_id = model_id
        self.licence = licence
        self.config = model.config.get_text_config(decoder=True)
        self.model.requires_grad_(False)
        self.model.eval()
        self.forms = KernelForms(model, device.device.split(":")[0])
        self._body = model.get_decoder()
        self._before_run: Callable[[], None] | None = None
        self.eop: Tensor | None = None
        self._head = model.get_output_embeddings()
        self._embedding = model.get_input_embeddings()
        generation = getattr(model, "generation_config", None)
        self.generation = generation
        """The model's own words about how it wants to be decoded, or None."""
        eos = getattr(generation, "eos_token_id", None)
        self.format = ChatFormat(tokenizer, eos if isinstance(eos, list) else [eos] if eos is not None else [])
        self.hidden_size: int = self._embedding.weight.shape[1]
        self.vocabulary_size: int = self._head.weight.shape[0]
        self.context_length: int = int(getattr(self.config, "max_position_embeddings", 2048) or 2048)
        self.layer_count: int = self.config.num_hidden_layers
        self.layout = CacheLayout(model.config)
        if self.layout.recurrent:
            self.layout = RecomputedLayout(model.config, self.embed_ids, self.torch_device)
        self.steps_with_cache = True
        self.token_space: TokenSpace | None = None
        self._queries = QueryRunner(self)
        with torch.no_grad():
            sample = torch.tensor([self.format.end_id], device=self.torch_device)
            row = self._embedding.weight[sample].float()
            self.embedding_scale = float((self.embed_ids(sample).float() * row).sum() / (row * row).sum())
            self._verify_head()
            if self.layout.recurrent:
                self._verify_recomputation()
            self.rotates_keys = not self.layout.recurrent and self._verify_rotation()
        self.fingerprint: Fingerprint = take_fingerprint(
            model,
            tokenizer,
            weights or identify_weights(model),
            model_id=model_id,
            layout_sha256=self.format.digest(),
            compute_dtype=device.compute_dtype,
        )

    # --- facts -------------------------------------------------------------------------------------

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self._embedding.weight.device)

    @property
    def dtype(self) -> torch.dtype:
        return self._embedding.weight.dtype

    @property
    def tied(self) -> bool:
        """Whether input and output embeddings are one matrix."""
        return self._head.weight.data_ptr() == self._embedding.weight.data_ptr()

    @property
    def output_rows(self) -> Tensor:
        """[v x d] output embedding matrix, compute dtype."""
        return self._head.weight

    @property
    def input_rows(self) -> Tensor:
        """[v x d] input embedding matrix, compute dtype, before ``embedding_scale``."""
        return self._embedding.weight

    @cached_property
    def longest_row(self) -> float:
        """Length of the longest row of the input and output embedding matrices."""
        matrices = (self.input_rows, self.output_rows)
        # In parts: a float32 copy of a large vocabulary's matrix takes gigabytes.
        return max(float(part.float().norm(dim=1).max()) for matrix in matrices for part in matrix.split(8192))

    @cached_property
    def key_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Layers, key-value heads, key size and value size of each layer group; none where caches cannot be cut."""
        if self.layout.recurrent:
            return ()
        state = self._queries.prefix_state((self.format.end_id,))
        return tuple(
            (k.shape[0], k.shape[1], k.shape[3], v.shape[3]) for k, v in zip(state.keys, state.values, strict=True)
        )

    def parameter_count(self) -> int:
        """Parameters of the model, 4-bit ones counted as what they stand for."""
        return sum(parameter_count(self.model))

    # --- sharing the model -------------------------------------------------------------------------

    def before_each_run(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` before each run: whoever shares the model with another backbone sets it to its own state."""
        self._before_run = hook

    def renew_prefixes(self) -> None:
        """Forget what was computed of queries: the weights that run have changed, or a person's texts have to go."""
        self._queries = QueryRunner(self)

    @property
    def _decoder(self) -> Any:
        if self._before_run is not None:
            self._before_run()
        return self._body

    # --- pieces of a forward pass ------------------------------------------------------------------

    def embed_ids(self, ids: Tensor) -> Tensor:
        """[... x d] what the model reads for token ids, compute dtype."""
        return self._embedding(ids)

    def embed_rows(self, rows: Tensor) -> Tensor:
        """[... x d] what the model reads for rows appended to its embedding matrix, compute dtype.

        Gemma multiplies embeddings by sqrt(d) on their way in; appended rows live in the matrix's own
        scale (so that a tied row can serve as output embedding too) and get the same factor here.
        """
        return (rows * self.embedding_scale).to(self.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        """[... x v] float32 logits of the model's own head: bias, scale and soft cap included."""
        return self.cap_logits(self._head(hidden.to(self.dtype)).float())

    def cap_logits(self, raw: Tensor) -> Tensor:
        """Apply the scale and soft cap of the model's head to raw logits of any columns."""
        scale = getattr(self.config, "logit_scale", None) or 1.0
        divisor = getattr(self.config, "logits_scaling", None) or 1.0
        if scale != divisor:
            raw = raw * (scale / divisor)
        cap = getattr(self.config, "final_logit_softcapping", None) or getattr(self.config, "logits_soft_cap", None)
        return torch.tanh(raw / cap) * cap if cap else raw

    def extend(self, batch: JoinedBatch, inputs: Tensor, present: Tensor | None = None) -> Tensor:
        """Run new input embeddings behind a batch.

        Args:
            batch: extended in place (cache, mask, lengths).
            inputs: [b x s x d] input embeddings, compute dtype.
            present: [b x s] long, 0 for right padding; all present when None.

        Returns:
            [b x s x d] final hidden states, compute dtype.
        """
        if isinstance(batch, RecomputedBatch):
            return rerun(self, batch, inputs, present)
        steps = torch.arange(inputs.shape[1], device=inputs.device)
        new = torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device) if present is None else present
        batch.mask = torch.cat([batch.mask, new], dim=1)
        positions = batch.lengths[:, None] + steps[None]
        batch.lengths = batch.lengths + new.sum(dim=1)
        output = self._decoder(
            inputs_embeds=inputs,
            attention_mask=batch.mask,
            position_ids=positions,
            past_key_values=batch.cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def run_ids(
        self,
        ids: Tensor,
        cache: DynamicCache | None,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        every_layer: bool = False,
    ) -> Any:
        """The decoder's output for token ids, their keys and values appended to ``cache``.

        Args:
            ids: [b x s] long.
            cache: filled in place; None keeps nothing.
            mask: [b x n + s] long, what of the cache and of ``ids`` is present; all when None.
            positions: [b x s] long; counted from the cache's end when None.
            every_layer: keep the hidden states of all layers (``hidden_states``).
        """
        return self._decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=every_layer,
        )

    def run_whole(self, inputs: Tensor, present: Tensor, *, every_layer: bool = False) -> Any:
        """The decoder's output for whole right-padded sequences, nothing cached.

        Args:
            inputs: [b x s x d] input embeddings, compute dtype.
            present: [b x s] long, 0 for padding.
            every_layer: keep the hidden states of all layers (``hidden_states``).
        """
        return self._decoder(
            inputs_embeds=inputs, attention_mask=present, use_cache=False, output_hidden_states=every_layer
        )

    def run_embeddings(self, inputs: Tensor, present: Tensor) -> Tensor:
        """[b x s x d] final hidden states of whole right-padded sequences, see ``run_whole``."""
        hidden: Tensor = self.run_whole(inputs, present).last_hidden_state
        return hidden

    def run_with_cache(self, inputs: Tensor, cache: DynamicCache, start: int) -> Tensor:
        """[1 x s x d] final hidden states of one sequence from position ``start`` on, behind what the cache holds."""
        positions = torch.arange(start, start + inputs.shape[1], device=inputs.device)[None]
        output = self._decoder(inputs_embeds=inputs, position_ids=positions, past_key_values=cache, use_cache=True)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def rotate(self, keys: Tensor, positions: Tensor, group: int, *, back: bool = False) -> Tensor:
        """Rotate keys to positions (or back to position-free ones), in float32.

        Args:
            keys: [l x k x m x e].
            positions: [m] long.
            group: index of the layer group the keys belong to.
        """
        if not self._has_rotary:
            return keys
        cos, sin = self._cos_sin(positions, group)
        if back:
            cos, sin = cos / (cos[..., :1] ** 2 + sin[..., :1] ** 2), -sin / (cos[..., :1] ** 2 + sin[..., :1] ** 2)
        turned, rest = keys[..., : cos.shape[-1]], keys[..., cos.shape[-1] :]
        half = turned.shape[-1] // 2
        swapped = torch.cat([-turned[..., half:], turned[..., :half]], dim=-1)
        return torch.cat([turned * cos + swapped * sin, rest], dim=-1)

    @property
    def _has_rotary(self) -> bool:
        return getattr(self._decoder, "rotary_emb", None) is not None

    def _cos_sin(self, positions: Tensor, group: int) -> tuple[Tensor, Tensor]:
        rotary = self._decoder.rotary_emb
        probe = torch.zeros(1, dtype=torch.float32, device=self.torch_device)
        arguments: list[Any] = [probe, positions[None].to(self.torch_device)]
        if "layer_type" in inspect.signature(rotary.forward).parameters:
            arguments.append(self.config.layer_types[self.layout.groups[group].layers[0]])
        cos, sin = rotary(*arguments)
        return cos[0].float(), sin[0].float()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Kernels for training: on a CPU plain attention has the faster backward pass, and dense weights help."""
        if self.torch_device.type != "cpu":
            yield
            return
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            with self.forms.training():
                yield
        finally:
            self.model.set_attn_implementation(before)

    # --- queries -----------------------------------------------------------------------------------

    @torch.no_grad()
    def prefill(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool = True,
        feature_layers: Sequence[int] = (),
        token_layers: Sequence[int] = (),
    ) -> Prefilled:
        """Run queries once, without gradient; what they share in front is computed once.

        Args:
            queries: token ids of each query, none empty.
            keep_states: keep keys and values (else only hidden states).
            feature_layers: indices into the stack of hidden states (0 is the embedding) whose mean over
                the message and last state are returned as ``pooled``.
            token_layers: the same whose states of each of the message's tokens are returned as ``tokens``.

        Raises:
            IncompatibleError: a query is longer than the context.
            OutOfMemoryError: a pass does not fit.
        """
        for query in queries:
            self.check_length(len(query))
        return self._queries.run(
            queries, keep_states=keep_states, feature_layers=feature_layers, token_layers=token_layers
        )

    @torch.no_grad()
    def extend_state(self, state: QueryState, ids: Sequence[int]) -> Prefilled:
        """Run more ids behind a query that has been run; ``state`` itself stays as it is.

        Raises:
            IncompatibleError: the two together are longer than the context.
            OutOfMemoryError: the pass does not fit.
        """
        self.check_length(state.length + len(ids))
        return self._queries.extend_state(state, ids)

    def check_length(self, tokens: int, room: int = 0) -> None:
        """Raise IncompatibleError when ``tokens`` plus ``room`` do not fit the context."""
        if tokens + room > self.context_length:
            raise IncompatibleError(
                f"The text has {tokens} tokens; this model's context holds {self.context_length}.",
                next_step="Shorten the text, or choose a model with a longer context.",
            )

    @torch.no_grad()
    def free_keys_of(self, ids: Sequence[int]) -> LayerRows:
        """Keys, made position-free, and values of a text run from position 0.

        Returns:
            Rows in float32, one per token of ``ids``; the start of a memory that imitates that text.
        """
        cache = self.layout.new_cache()
        self.run_ids(torch.tensor([list(ids)], device=self.torch_device), cache)
        state = self.layout.cut(cache, [len(ids)])[0]
        keys = []
        for g, k in enumerate(state.keys):
            positions = torch.arange(len(ids) - k.shape[-2], len(ids), device=k.device)
            keys.append(self.rotate(k.float(), positions, g, back=True))
        return LayerRows(tuple(keys), tuple(v.float() for v in state.values))

    # --- checks at load ----------------------------------------------------------------------------

    def _verify_head(self) -> None:
        """Our head must give the model's own logits, or every loss would be of another model."""
        ids = torch.tensor([[*self.format.head_ids, *self.format.tail_ids]], device=self.torch_device)
        own = self.model(input_ids=ids, use_cache=False).logits[0, -1].float()
        hidden = self._decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
        ours = self.logits(hidden)
        if not torch.allclose(own, ours, atol=0.02 * float(own.abs().max() + 1)):
            raise IncompatibleError(
                f"The output head of {self.config.model_type!r} models works in a way this version does not know.",
                next_step="Choose a model of the Llama, Qwen or Gemma families.",
            )

    def _verify_recomputation(self) -> None:
        """Sequences must run the same with others beside them, or routes and answers would depend on those."""
        ids = [*self.format.head_ids, *self.format.tail_ids, *self.format.head_ids, *self.format.tail_ids]
        if not padding_is_safe(self, ids):
            raise IncompatibleError(
                f"{self.model_id} has layers ({self.config.model_type}) that work in a way this version does not know.",
                next_step="Choose a model with attention in every layer, such as those of 'tokmem-desk model list'.",
            )
        self.steps_with_cache = steps_with_cache(self, ids)

    def _verify_rotation(self) -> bool:
        """True when moving a cached key by our rotation gives what the model computes at that position."""
        ids = torch.tensor([self.format.tail_ids[:1] or [self.format.end_id]], device=self.torch_device)
        moved = []
        for position in (0, 7):
            cache = self.layout.new_cache()
            places = torch.full((1, 1), position, device=self.torch_device)
            self.run_ids(ids, cache, positions=places)
            moved.append(self.layout.cut(cache, [1])[0])
        if not self._has_rotary:
            return False
        for g in range(len(self.layout.groups)):
            start, place = torch.tensor([[0], [7]], device=self.torch_device)
            # Even position 0 is turned: YaRN scales what it rotates.
            ours = self.rotate(self.rotate(moved[0].keys[g].float(), start, g, back=True), place, g)
            # A single token attends only to itself, so deeper layers see the same input at both places.
            theirs = moved[1].keys[g].float()
            if not torch.allclose(ours, theirs, atol=0.05 * float(theirs.abs().max())):
                return False
        return True


def load_backbone(folder: Path, device: DeviceChoice, model_id: str, licence: str = "") -> Backbone:
    """Load a converted model (see ``model_store``) from its folder.

    Raises:
        IncompatibleError: the files are damaged or not a causal language model.
        OutOfMemoryError: the model does not fit.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    check_config(folder, model_id, converted=True)
    try:
        # Code that comes with a model is never run, and a question about it never asked.
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        with packing_experts(packed_in(folder)):
            model, told = AutoModelForCausalLM.from_pretrained(
                folder, dtype="auto", device_map={"": device.device}, output_loading_info=True, **options
            )
        check_loaded(model_id, told["missing_keys"], told["mismatched_keys"])
        check_layers(model_id, model)
        record = read_record(folder)
        weights = identify_weights(model, record.revision, record.weights_sha256) if record else identify_weights(model)
        compute_in(model, device.torch_dtype)
        licence = licence or (record.licence if record else "")
        return Backbone(model, tokenizer, device, model_id, licence, weights)
    except IncompatibleError as error:
        # A field of the configuration is more to the point than what it led to.
        if (known := explain(folder, model_id, converted=True)) is not None:
            raise known from error
        raise
    except TokmemError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"{model_id} does not fit into the memory of {device.device}.",
                next_step="Choose a smaller model, or use --device cpu.",
            ) from error
        # Over a damaged file the libraries raise anything, from KeyError to an exception of Rust.
        raise explain(folder, model_id, converted=True) or IncompatibleError(
            f"The files of {model_id} cannot be loaded ({first_line(error)}).",
            next_step=f"Remove and fetch it again: tokmem-desk model remove {model_id}; model pull {model_id}.",
        ) from error
