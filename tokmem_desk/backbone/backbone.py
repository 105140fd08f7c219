"""The frozen 4-bit language model: loaded once, shared by every profile.

A ``Backbone`` runs queries, extends them and reads logits. Banks are arguments of its callers, never part
of its state: nothing here changes with a profile. It does not fetch or convert models (``models``),
nor decide what to say (``recall``).

Letters: b batch, s tokens, v vocabulary, d hidden size; see ``query_state`` for the cache's letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tokmem_desk.backbone.chat_format import ChatFormat
from tokmem_desk.backbone.decoder_call import DecoderCall, decoder_of
from tokmem_desk.backbone.decoding_products import one_row_head
from tokmem_desk.backbone.fingerprint import Fingerprint, WeightsIdentity, identify_weights, take_fingerprint
from tokmem_desk.backbone.kv_state import CacheLayout, JoinedBatch
from tokmem_desk.backbone.lean_load import without_drawing_weights
from tokmem_desk.backbone.lean_step import LeanStep
from tokmem_desk.backbone.load_check import examine, gradients_agree, steps_agree, stops_early, written_out
from tokmem_desk.backbone.prefill import Prefilled, QueryRunner, Reading, finish
from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState
from tokmem_desk.backbone.recurrent import RecomputedBatch, RecomputedLayout, rerun
from tokmem_desk.backbone.rotation import Rotations
from tokmem_desk.backbone.traits import Traits, keep_traits, read_traits, traits_key
from tokmem_desk.backbone.weight_formats import KernelForms, compute_in
from tokmem_desk.errors import (
    ContextLengthError,
    IncompatibleError,
    OutOfMemoryError,
    TokmemError,
    UnsupportedModelError,
    first_line,
)
from tokmem_desk.models.config_checks import check_config, check_layers, check_loaded, explain
from tokmem_desk.models.expert_weights import packed_in, packing_experts, parameter_count
from tokmem_desk.models.record import read_record
from tokmem_desk.system.device import DeviceChoice, is_out_of_memory
from tokmem_desk.system.lean_imports import import_bitsandbytes

if TYPE_CHECKING:
    from tokmem_desk.backbone.token_space import TokenSpace


class Backbone:
    """One frozen causal language model with its tokenizer.

    Attributes:
        model_id: the id under which it was asked for.
        decoder: the part of the model that gives final hidden states.
        decoder_call: how that part is called.
        hidden_size, vocabulary_size, context_length: d, v, and tokens a conversation may hold.
        embedding_scale: factor between a row of the embedding matrix and the vector the model reads.
        steps_with_cache: False when even one answer runs from its beginning for each token, see ``recurrent``.
        rotates_keys: True when keys can be moved to another position, which memories with per-layer keys and values
            need.
        traits: how the model has to be run, found at its first load.
        eop: [d] row of the end-of-procedure token, where an adapter brought one.
        token_space: what readers and the segment tagger of this backbone look at; set by whoever fitted it.
        token_weights: [v] float32, how much each token of the vocabulary counts in the first of ``pooled``'s means over
            a message; None weighs all alike. Set by whoever loads the router's space, which was fitted to such means.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        device: DeviceChoice,
        model_id: str,
        licence: str = "",
        weights: WeightsIdentity | None = None,
        traits: Traits | None = None,
    ) -> None:
        """Take over a loaded model; checks that the pieces it relies on do what they should.

        Args:
            weights: which weights these are; measured here when None.
            traits: what the check found at an earlier load of the same model; None to check.

        Raises:
            IncompatibleError: the model's template is of a kind we cannot serve.
            UnsupportedModelError: no way of running the model gives its own numbers.
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
        self.decoder = decoder_of(model)
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
        self.context_length: int = context_length(self.config)
        self.layer_count: int = self.config.num_hidden_layers
        self.active_input = int(getattr(self.config, "altup_active_idx", 0) or 0)
        self.decoder_call = DecoderCall(self.decoder, self.hidden_size)
        self.layout = CacheLayout(model.config)
        self.token_space: TokenSpace | None = None
        self.token_weights: Tensor | None = None
        self._queries = QueryRunner(self)
        self._stops_at: dict[int, bool] = {}
        self._step: LeanStep | None = None
        self._step_sought = False
        self._decides_by_step: bool | None = None
        self._learns_by_step: bool | None = None
        self._in_training = False
        with torch.no_grad():
            sample = torch.tensor([self.format.end_id], device=self.torch_device)
            row = self._embedding.weight[sample].float()
            read = self._embedding(sample).float()
            self.embedding_scale = float((read * row).sum() / (row * row).sum())
            self.traits = self._take(traits or examine(self), found=traits is not None)
        self.rotates_keys = self.traits.form == "layers"
        self.steps_with_cache = self.traits.steps_with_cache
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
    def _ready(self) -> Any:
        """The decoder, in the state in which this backbone runs it."""
        if self._before_run is not None:
            self._before_run()
        return self.decoder

    def _run(self, **options: Any) -> Any:
        """A pass of the library's decoder, see ``DecoderCall.run``."""
        with self.forms.unpacked():
            return self.decoder_call.run(self._ready, **options)

    # --- pieces of a forward pass ------------------------------------------------------------------

    def embed_ids(self, ids: Tensor) -> Tensor:
        """[... x d] what the model reads for token ids, compute dtype; longer where layers read more of each token."""
        return self.decoder_call.embed(self._embedding(ids), ids)

    def embed_rows(self, rows: Tensor) -> Tensor:
        """[... x d] what the model reads for rows appended to its embedding matrix, compute dtype.

        Gemma multiplies embeddings by sqrt(d) on their way in; appended rows live in the matrix's own
        scale (so that a tied row can serve as output embedding too) and get the same factor here.
        """
        first = (rows * self.embedding_scale).to(self.dtype)
        if not self.decoder_call.own_embeddings:
            return first
        # Layers read of a row what they read of a picture: their embeddings of padding.
        padding = self.config.pad_token_id or 0
        return self.decoder_call.embed(first, torch.full(rows.shape[:-1], padding, device=rows.device))

    def logits(self, hidden: Tensor) -> Tensor:
        """[... x v] float32 logits of the model's own head: bias, scale and soft cap included."""
        return self.cap_logits(self._head(hidden.to(self.dtype)).float())

    def next_logits(self, hidden: Tensor) -> Tensor:
        """[b x v] float32 logits of the last states of a decoding step, [b x d], by the quickest way there is."""
        raw = one_row_head(self._head, hidden.to(self.dtype))
        return self.logits(hidden) if raw is None else self.cap_logits(raw.float())

    def cap_logits(self, raw: Tensor) -> Tensor:
        """[… x c] logits: the scale and soft cap of the model's head applied to raw ones [… x c] of any c columns."""
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
            present: [b x s] long, 0 for right padding; all present when None. Where layers carry a state, nothing can
                follow what was padded.

        Returns:
            [b x s x d] final hidden states, compute dtype.

        Raises:
            ValueError: recurrent layers have read padding of this batch.
        """
        if isinstance(batch, RecomputedBatch):
            return rerun(self, batch, inputs, present)
        if batch.padded:
            raise ValueError("recurrent layers have read padding of this batch: nothing can follow")
        step = self._learning_step(batch)
        if step is not None:
            if self._before_run is not None:
                self._before_run()
            return step.learn(batch, inputs, present)
        steps = torch.arange(inputs.shape[1], device=inputs.device)
        new = torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device) if present is None else present
        batch.mask = torch.cat([batch.mask, new], dim=1)
        positions = batch.lengths[:, None] + steps[None]
        batch.lengths = batch.lengths + new.sum(dim=1)
        batch.even = batch.even and present is None
        batch.padded = bool(self.layout.running) and present is not None and not bool(present.all())
        # Layers without keys look at the new tokens alone.
        mask = batch.mask if self.layout.groups else new
        output = self._run(inputs=inputs, mask=mask, positions=positions, cache=batch.cache)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def decode(self, batch: JoinedBatch, inputs: Tensor) -> Tensor:
        """``extend`` for the steps of an answer: few inputs, no gradient, by the quickest way that this model has.

        Args:
            batch: extended in place.
            inputs: [b x s x d] input embeddings, compute dtype.

        Returns:
            [b x s x d] final hidden states, compute dtype.
        """
        step = self.lean_step
        if step is None or isinstance(batch, RecomputedBatch) or not step.takes(batch, inputs):
            with self.forms.decoding():
                return self.extend(batch, inputs)
        if self._before_run is not None:
            self._before_run()
        return step.run(batch, inputs)

    @property
    def lean_step(self) -> LeanStep | None:
        """The written-out step of this model; None where it has none that gives the model's own numbers."""
        step = self._written_out()
        if step is not None and self._decides_by_step is None:
            # The checks themselves go by the model's own pass.
            self._decides_by_step = False
            self._decides_by_step = steps_agree(self, step)
        return step if self._decides_by_step else None

    def _learning_step(self, batch: JoinedBatch) -> LeanStep | None:
        """The written-out step for a step of training; None where there is none."""
        if not self._in_training or isinstance(batch, RecomputedBatch):
            return None
        step = self._written_out()
        if step is None or not step.learns_from(batch):
            return None
        if self._learns_by_step is None:
            self._learns_by_step = False
            self._learns_by_step = gradients_agree(self, step)
        return step if self._learns_by_step else None

    def _written_out(self) -> LeanStep | None:
        """The step before it was tried; made anew where other modules have come into the model."""
        if not self._step_sought or (self._step is not None and not self._step.current):
            self._step, self._step_sought = written_out(self), True
            self._decides_by_step = self._learns_by_step = None
        return self._step

    def run_ids(
        self,
        ids: Tensor,
        cache: DynamicCache | None,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        every_layer: bool = False,
        depth: int | None = None,
    ) -> Any:
        """The decoder's output for token ids, their keys and values appended to ``cache``.

        Args:
            ids: [b x s] long.
            cache: filled in place; None keeps nothing.
            mask: [b x n + s] long, what of the cache and of ``ids`` is present; all when None.
            positions: [b x s] long; counted from the cache's end when None.
            every_layer: keep the hidden states of all layers (``hidden_states``).
            depth: run so many layers, see ``least_depth``; all when None.
        """
        return self._run(ids=ids, mask=mask, positions=positions, cache=cache, every_layer=every_layer, depth=depth)

    def least_depth(self, layers: Sequence[int]) -> int | None:
        """How many layers have to run for the hidden states of some.

        A decoder that goes by the number of layers in its configuration stops early; one that then gives other states
        runs whole. This is tried once for each depth.

        Args:
            layers: indices into the stack of hidden states, 0 is the embedding.

        Returns:
            None where all have to run.
        """
        # The last state that is given has gone through the final norm: it is none of those that are wanted.
        depth = max(layers) + 1
        if depth >= self.layer_count or self.decoder_call.own_embeddings or self.layout.running:
            return None
        if depth not in self._stops_at:
            self._stops_at[depth] = stops_early(self, depth)
        return depth if self._stops_at[depth] else None

    def run_whole(self, inputs: Tensor, present: Tensor, *, every_layer: bool = False) -> Any:
        """The decoder's output for whole right-padded sequences, nothing cached.

        Args:
            inputs: [b x s x d] input embeddings, compute dtype.
            present: [b x s] long, 0 for padding.
            every_layer: keep the hidden states of all layers (``hidden_states``).
        """
        return self._run(inputs=inputs, mask=present, every_layer=every_layer)

    def run_embeddings(self, inputs: Tensor, present: Tensor) -> Tensor:
        """[b x s x d] final hidden states of whole right-padded sequences, see ``run_whole``."""
        hidden: Tensor = self.run_whole(inputs, present).last_hidden_state
        return hidden

    def run_with_cache(self, inputs: Tensor, cache: DynamicCache, start: int) -> Tensor:
        """[1 x s x d] final hidden states of one sequence from position ``start`` on, behind what the cache holds."""
        positions = torch.arange(start, start + inputs.shape[1], device=inputs.device)[None]
        output = self._run(inputs=inputs, positions=positions, cache=cache)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def rotate(self, keys: Tensor, positions: Tensor, group: int, *, back: bool = False) -> Tensor:
        """Rotate keys to positions (or back to position-free ones), in float32.

        Args:
            keys: [l x k x m x e].
            positions: [m] long.
            group: index of the layer group the keys belong to.
        """
        of = self.layout.groups[group]
        if of.rotation is None:
            return keys
        return of.rotation.turn(keys, positions.to(self.torch_device), of.layers, back=back)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Kernels for training: on a CPU plain attention has the faster backward pass, and dense weights help."""
        if self.torch_device.type != "cpu":
            yield
            return
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            self._in_training = True
            with self.forms.unpacked():
                yield
        finally:
            self._in_training = False
            self.model.set_attn_implementation(before)

    # --- queries -----------------------------------------------------------------------------------

    def prefill(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool = True,
        feature_layers: Sequence[int] = (),
        token_layers: Sequence[int] = (),
        token_space: TokenSpace | None = None,
        tokens_alone: bool = False,
        lower_layers: bool = False,
    ) -> Prefilled:
        """Run queries once, without gradient; what they share in front is computed once.

        Args:
            queries: token ids of each query, none empty.
            keep_states: keep keys and values (else only hidden states).
            feature_layers: indices into the stack of hidden states (0 is the embedding) whose mean over
                the message by ``token_weights``, last state, and mean with all tokens alike are returned as ``pooled``,
                one behind another, behind ``last_hidden``.
            token_layers: the same whose states of each of the message's tokens are returned as ``tokens``.
            token_space: return as ``tokens`` the message's tokens in this space instead, which takes less memory.
            tokens_alone: run no layer above those, and nothing behind the message; ``last_hidden`` then means nothing.
            lower_layers: run no layer above those of ``feature_layers`` and of the tokens; ``last_hidden`` then means
                nothing.

        Raises:
            IncompatibleError: a query is longer than the context.
            OutOfMemoryError: a pass does not fit.
        """
        return finish(
            self.prefill_steps(
                queries,
                keep_states=keep_states,
                feature_layers=feature_layers,
                token_layers=token_layers,
                token_space=token_space,
                tokens_alone=tokens_alone,
                lower_layers=lower_layers,
            )
        )

    @torch.no_grad()
    def prefill_steps(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool = True,
        feature_layers: Sequence[int] = (),
        token_layers: Sequence[int] = (),
        token_space: TokenSpace | None = None,
        tokens_alone: bool = False,
        lower_layers: bool = False,
    ) -> Reading:
        """``prefill`` pass by pass: yields the number of tokens read after each, and returns what ``prefill`` does.

        Between two passes others may run the model, and whoever has had enough closes the generator.
        """
        for query in queries:
            self.check_length(len(query))
        return (
            yield from self._queries.read(
                queries,
                keep_states=keep_states,
                feature_layers=feature_layers,
                token_layers=token_layers,
                token_space=token_space,
                tokens_alone=tokens_alone,
                lower_layers=lower_layers,
            )
        )

    def extend_state(self, state: QueryState, ids: Sequence[int]) -> Prefilled:
        """Run more ids behind a query that has been run; ``state`` itself stays as it is.

        Raises:
            IncompatibleError: the two together are longer than the context.
            OutOfMemoryError: the pass does not fit.
        """
        return finish(self.extend_state_steps(state, ids))

    @torch.no_grad()
    def extend_state_steps(self, state: QueryState, ids: Sequence[int]) -> Reading:
        """``extend_state`` pass by pass, as ``prefill_steps`` is ``prefill``."""
        self.check_length(state.length + len(ids))
        return (yield from self._queries.extend_state(state, ids))

    def check_length(self, tokens: int, room: int = 0) -> None:
        """See that a text fits the context.

        Args:
            tokens: of the text.
            room: further tokens that are to fit behind it.

        Raises:
            ContextLengthError: they do not fit.
        """
        if tokens + room > self.context_length:
            raise ContextLengthError(
                f"The text has {tokens} tokens; this model's context holds {self.context_length}.",
                next_step="Shorten the text, or choose a model with a longer context.",
            )

    @torch.no_grad()
    def free_keys_of(self, ids: Sequence[int]) -> LayerKeysValues:
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
        return LayerKeysValues(tuple(keys), tuple(v.float() for v in state.values))

    # --- how the model has to be run ----------------------------------------------------------------

    def run_from_the_beginning(self) -> None:
        """Keep nothing of a query but its ids: for models whose cache cannot be cut."""
        self.layout = RecomputedLayout(self.model.config, self.embed_ids, self.torch_device)
        self.renew_prefixes()

    def _take(self, traits: Traits, *, found: bool) -> Traits:
        """Run the model as the check found that it has to be run.

        Args:
            found: at an earlier load; else the layout is as the check left it.
        """
        if found and traits.reruns:
            self.run_from_the_beginning()
        elif found:
            rotations = Rotations.from_json(self.decoder, traits.rotations)
            self.layout.regroup({layer: rotations.of(layer) for layer in traits.sizes}, traits.sizes)
            self.layout.pads_left = traits.pads_left
        self.renew_prefixes()
        return traits


def context_length(config: Any) -> int:
    """Tokens that a conversation may hold.

    Long rope turns everything otherwise once a text is longer than the model's first length: what was kept of a short
    one would be worth nothing, and a short message beside a long one would be another. So the first length is all.
    """
    length = int(getattr(config, "max_position_embeddings", 2048) or 2048)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [rope, *(part for part in rope.values() if isinstance(part, dict))] if isinstance(rope, dict) else []
    for kind in kinds:
        if (kind.get("rope_type") or kind.get("type")) == "longrope":
            first = kind.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
            length = min(length, int(first or length))
    return length


def load_backbone(folder: Path, device: DeviceChoice, model_id: str, licence: str = "") -> Backbone:
    """Load a converted model (see ``models``) from its folder.

    Raises:
        IncompatibleError: the files are damaged or not a causal language model.
        OutOfMemoryError: the model does not fit.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    check_config(folder, model_id, converted=True)
    model = None
    try:
        import_bitsandbytes()
        # Code that comes with a model is never run, and a question about it never asked.
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        with packing_experts(packed_in(folder)), without_drawing_weights():
            model, told = AutoModelForCausalLM.from_pretrained(
                folder, dtype="auto", device_map={"": device.device}, output_loading_info=True, **options
            )
        check_loaded(model_id, told["missing_keys"], told["mismatched_keys"])
        check_layers(model_id, model)
        record = read_record(folder)
        weights = identify_weights(model, record.revision, record.weights_sha256) if record else identify_weights(model)
        compute_in(model, device.torch_dtype)
        licence = licence or (record.licence if record else "")
        key = traits_key(weights, model.config, device.device, device.compute_dtype)
        known = read_traits(folder, key)
        backbone = Backbone(model, tokenizer, device, model_id, licence, weights, known)
        if known is None:
            keep_traits(folder, key, backbone.traits)
        return backbone
    except IncompatibleError as error:
        # A field of the configuration is more to the point than what it led to.
        if (wrong := explain(folder, model_id, converted=True)) is not None:
            raise wrong from error
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
        if (wrong := explain(folder, model_id, converted=True)) is not None:
            raise wrong from error
        if model is not None:
            family = getattr(model.config, "model_type", "unknown")
            raise UnsupportedModelError(
                f"{model_id} was read, but this version cannot use it: a model of the family {family} does not have "
                f"what is looked for ({type(error).__name__}: {first_line(error)}).",
                next_step="Choose a model of another family, such as those of 'tokmem-desk model list'.",
            ) from error
        raise IncompatibleError(
            f"The files of {model_id} cannot be loaded ({first_line(error)}).",
            next_step=f"Remove and fetch it again: tokmem-desk model remove {model_id}; model pull {model_id}.",
        ) from error
