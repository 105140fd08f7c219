"""The check of every model at its first load: what is cut, joined and gone on from gives the model's own numbers.

No list of families says what works. A query is run, its cache cut and joined with another's, several tokens and then
single ones are run behind it, and the logits are compared with those of the model's own pass over the whole. A model
that passes gets the strongest form of memory that its layers allow; one that does not is run from the beginning; one
that fails that too is refused with the reason. It takes about a dozen passes over at most some tens of tokens.

Letters: b batch, s tokens, v vocabulary, d hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from tokmem_desk.backbone.forward import ForwardModel
from tokmem_desk.backbone.lean_step import LeanStep, lean_step
from tokmem_desk.backbone.recurrent import padding_is_safe, steps_with_cache
from tokmem_desk.backbone.rotation import Rotations, distance, find_kinds, watched_calls
from tokmem_desk.backbone.traits import Traits
from tokmem_desk.errors import TokmemError, UnsupportedModelError, first_line
from tokmem_desk.system.device import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokmem_desk.backbone.decoder_call import DecoderCall
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.backbone.weight_formats import KernelForms

_Result = TypeVar("_Result")

_MESSAGES = ("Paid 12.50 for lunch on 3 May with the blue card", "Thanks")
_GREEDY_TOKENS = 3
_POSITIONS = (0, 7, 131)
"""Where single tokens are run to see how keys turn: the slowest pairs hardly move over a few positions."""
_PROBES = 4
_SEEN = 48
"""Most tokens of a message in a check."""

EXACT = 1e-3
ROUNDED = 0.1
"""Largest relative distance of logits from the model's own, in float32 and in shorter numbers. Experts that are chosen
otherwise by a rounding move single positions by more; therefore the middle position of each sequence counts."""


class CheckedModel(ForwardModel, Protocol):
    """What the check needs of a model beyond running it. The members are described in ``Backbone``."""

    @property
    def model(self) -> Any:
        """The library's model, whose own logits are the measure."""

    @property
    def model_id(self) -> str:
        """What to call it."""

    @property
    def config(self) -> Any:
        """Configuration of its text part."""

    @property
    def decoder(self) -> Any:
        """The part that gives final hidden states."""

    @property
    def decoder_call(self) -> DecoderCall:
        """How that part is called."""

    @property
    def forms(self) -> KernelForms:
        """The forms of its 4-bit weights."""

    @property
    def context_length(self) -> int:
        """Tokens that a conversation may hold."""

    @property
    def dtype(self) -> torch.dtype:
        """Of what is computed."""

    @property
    def input_rows(self) -> Tensor:
        """[v x d] input embedding matrix."""

    def embed_rows(self, rows: Tensor) -> Tensor:
        """[… x d] what the model reads for rows."""

    def logits(self, hidden: Tensor) -> Tensor:
        """[… x v] float32 logits of final hidden states."""

    def prefill(
        self,
        queries: Sequence[Sequence[int]],
        *,
        keep_states: bool = True,
        feature_layers: Sequence[int] = (),
        token_layers: Sequence[int] = (),
    ) -> Prefilled:
        """Run queries once, without gradient."""

    def renew_prefixes(self) -> None:
        """Forget what was computed of queries."""

    def run_from_the_beginning(self) -> None:
        """Keep nothing of a query but its ids."""


def examine(backbone: CheckedModel) -> Traits:
    """Find out how a model has to be run; leaves its layout as found.

    Raises:
        UnsupportedModelError: no way of running it gives its own numbers.
        OutOfMemoryError: a pass does not fit.
    """
    bound = _bound(backbone)
    check_head(backbone, bound)
    layout = backbone.layout
    problem: str | None
    rotations: Rotations | None = None
    unknown: list[int] = []
    if layout.unknown:
        problem = f"its cache holds {', '.join(layout.unknown)}, which cannot be cut"
    elif not backbone.decoder_call.takes_cache:
        problem = "it keeps no cache"
    else:
        problem, probed = _attempt(lambda: _probe(backbone))
        if probed is not None:
            rotations, unknown = probed
        for pads_left in (True, False) if layout.running else (True,):
            if rotations is None:
                break
            layout.pads_left = pads_left
            backbone.renew_prefixes()
            problem, away = _attempt(lambda: extension_distance(backbone))
            if away is not None and away > bound:
                problem = f"going on behind a query is {away:.0%} away from the whole"
            if problem is None:
                break
        if problem is None and layout.running:
            problem, away = _attempt(lambda: gradient_distance(backbone))
            if away is not None and away > bound:
                problem = f"the gradient behind a query is {away:.0%} away from that of the whole"
    if problem is not None or rotations is None:
        return _examine_rerun(backbone, bound, problem or "its layers cannot be looked at")
    reason, form = "", "layers"
    if not layout.groups:
        form, reason = "rows", "no layer keeps keys and values"
    elif unknown:
        form, reason = "rows", f"how the keys of layer {unknown[0] + 1} turn with their position is not known"
    return Traits(
        "layers" if form == "layers" else "rows",
        reason=reason,
        carries_state=bool(layout.running),
        pads_left=layout.pads_left,
        rotations=rotations.to_json(),
        sizes=layout.sizes,
    )


def _bound(backbone: CheckedModel) -> float:
    return EXACT if backbone.dtype == torch.float32 else ROUNDED


def check_head(backbone: CheckedModel, bound: float) -> None:
    """Our head must give the model's own logits, or every loss would be of another model.

    Raises:
        UnsupportedModelError: it does not.
    """
    ids = torch.tensor([_queries(backbone)[0]], device=backbone.torch_device)

    def head_distance() -> float:
        own = backbone.model(input_ids=ids, use_cache=False).logits[0].float()
        hidden = backbone.run_ids(ids, None).last_hidden_state[0]
        return median(distance(mine, theirs) for mine, theirs in zip(backbone.logits(hidden), own, strict=True))

    problem, away = _attempt(head_distance)
    if problem is not None:
        raise unsupported(backbone, f"a plain pass over a few tokens ends with an error ({problem})")
    if away is not None and away > bound:
        raise unsupported(backbone, "its output head works in a way this version does not know")


def extension_distance(backbone: CheckedModel) -> float:
    """How far logits behind cut and joined queries are from the model's own, the worse of two sequences."""
    queries = _queries(backbone)
    done = backbone.prefill(queries, feature_layers=(backbone.layer_count,))
    batch = backbone.layout.join(done.states, [None] * len(queries))
    logits = [backbone.logits(done.last_hidden)[:, None]]
    more = torch.tensor([[*backbone.format.tail_ids[:3], backbone.format.end_id]] * len(queries))
    fed = [more.to(backbone.torch_device)]
    for _ in range(1 + _GREEDY_TOKENS):
        logits.append(backbone.logits(backbone.extend(batch, backbone.embed_ids(fed[-1]))))
        fed.append(logits[-1][:, -1:].argmax(dim=-1))
    ours, behind = torch.cat(logits, dim=1), torch.cat(fed[:-1], dim=1)
    worst = 0.0
    for row, query in enumerate(queries):
        whole = torch.tensor([query], device=backbone.torch_device)
        whole = torch.cat([whole, behind[row : row + 1]], dim=1)
        theirs = backbone.model(input_ids=whole, use_cache=False).logits[0, len(query) - 1 :].float()
        worst = max(worst, median(distance(a, b) for a, b in zip(ours[row], theirs, strict=True)))
    if backbone.layout.running:
        bare = backbone.prefill(queries, keep_states=False)
        worst = max(worst, *(distance(a, b) for a, b in zip(bare.last_hidden, done.last_hidden, strict=True)))
    return worst


def written_out(backbone: CheckedModel) -> LeanStep | None:
    """The model's written-out step, not tried yet; None where its family has none."""
    if backbone.layout.recurrent or backbone.layout.running or backbone.decoder_call.own_embeddings:
        return None
    return lean_step(backbone.decoder, backbone.forms)


def steps_agree(backbone: CheckedModel, step: LeanStep) -> bool:
    """Whether states of the written-out step are those of the decoder's own pass."""
    problem, away = _attempt(lambda: step_distance(backbone, step))
    return problem is None and away is not None and away <= _bound(backbone)


@torch.no_grad()
def step_distance(backbone: CheckedModel, step: LeanStep) -> float:
    """How far final states by the written-out step are from the decoder's own: one token, and several of two queries.

    It is tried in each process anew, since kernels differ between computers; hence so few passes.
    """
    states = backbone.prefill(_queries(backbone)).states
    more = torch.tensor([[*backbone.format.tail_ids[:2], backbone.format.end_id]] * len(states))
    inputs = backbone.embed_ids(more.to(backbone.torch_device))
    worst = 0.0
    for kept, new in ((states[:1], inputs[:1, :1]), (states, inputs)):
        ours, theirs = (backbone.layout.join(kept, [None] * len(kept)) for _ in range(2))
        if not step.takes(ours, new):
            return float("inf")
        for mine, own in zip(step.run(ours, new), backbone.extend(theirs, new), strict=True):
            worst = max(worst, distance(mine.float(), own.float()))
    return worst


@torch.no_grad()
def stops_early(backbone: CheckedModel, depth: int) -> bool:
    """Whether a pass through the first ``depth`` layers gives the states that the whole has before the last of them."""
    ids = torch.tensor([_queries(backbone)[0]], device=backbone.torch_device)

    def away() -> float:
        whole = backbone.run_ids(ids, None, every_layer=True).hidden_states
        short = backbone.run_ids(ids, None, every_layer=True, depth=depth).hidden_states
        return max(distance(mine.float(), own.float()) for mine, own in zip(short[:depth], whole[:depth], strict=True))

    problem, found = _attempt(away)
    return problem is None and found is not None and found <= EXACT


def gradients_agree(backbone: CheckedModel, step: LeanStep) -> bool:
    """Whether states and gradients of the written-out step are those of the decoder's own pass, with padding."""
    problem, away = _attempt(lambda: learning_distance(backbone, step))
    # Rounding shows more in gradients than in states.
    return problem is None and away is not None and away <= 2 * _bound(backbone)


def learning_distance(backbone: CheckedModel, step: LeanStep) -> float:
    """How far states and gradients of a training step are from the decoder's own, behind two queries."""
    queries = _queries(backbone)
    states = backbone.prefill(queries).states
    more = torch.tensor([[*backbone.format.tail_ids[:3], backbone.format.end_id]] * len(queries))
    start = backbone.embed_ids(more.to(backbone.torch_device)).detach()
    present = torch.ones_like(more, device=backbone.torch_device)
    present[0, -1] = 0
    found: list[tuple[Tensor, Tensor]] = []
    for written_out in (True, False):
        inputs = start.clone().requires_grad_()
        with torch.enable_grad():
            batch = backbone.layout.join(states, [None] * len(queries))
            hidden = step.learn(batch, inputs, present) if written_out else backbone.extend(batch, inputs, present)
            kept = hidden.float() * present[..., None]
            (kept * torch.linspace(-1.0, 1.0, kept.numel(), device=kept.device).view_as(kept).sin()).sum().backward()
        assert inputs.grad is not None
        found.append((kept.detach(), inputs.grad.float()))
    return max(distance(mine, own) for mine, own in zip(*found, strict=True))


def gradient_distance(backbone: CheckedModel) -> float:
    """How far the gradient of rows behind a kept query is from that of one whole pass."""
    query = _queries(backbone)[0]
    ids = torch.tensor([query], device=backbone.torch_device)
    behind = torch.tensor([[*backbone.format.tail_ids[:3], backbone.format.end_id]], device=backbone.torch_device)
    state = backbone.prefill([query]).states[0]
    start = backbone.input_rows[behind[0, :2]].detach().float()
    gradients = []
    for cached in (True, False):
        rows = start.clone().requires_grad_()
        with torch.enable_grad():
            inputs = torch.cat([backbone.embed_rows(rows)[None], backbone.embed_ids(behind)], dim=1)
            if cached:
                hidden = backbone.extend(backbone.layout.join([state], [None]), inputs)
            else:
                whole = torch.cat([backbone.embed_ids(ids), inputs], dim=1)
                hidden = backbone.run_embeddings(
                    whole, torch.ones(whole.shape[:2], dtype=torch.long, device=ids.device)
                )
            last = hidden[0, -behind.shape[1] :].float()
            (last * torch.linspace(-1.0, 1.0, last.numel(), device=last.device).view_as(last).sin()).sum().backward()
        assert rows.grad is not None
        gradients.append(rows.grad)
    return distance(*gradients)


def _examine_rerun(backbone: CheckedModel, bound: float, reason: str) -> Traits:
    """Sequences must run the same with others beside them, or routes and answers would depend on those."""
    backbone.run_from_the_beginning()
    ids = _queries(backbone)[0]
    problem, away = _attempt(lambda: padding_is_safe(backbone, ids))
    if problem is None and away is not None and away > bound:
        problem = f"a sequence runs otherwise beside others, {away:.0%} away"
    if problem is not None:
        raise unsupported(backbone, f"{reason}, and run from the beginning {problem}")
    _, steps = _attempt(lambda: steps_with_cache(backbone, ids))
    return Traits("rows", reruns=True, reason=reason, steps_with_cache=steps is not None and steps <= bound)


def unsupported(backbone: CheckedModel, problem: str) -> UnsupportedModelError:
    """The refusal of a model: its name, its family, what of it does not work, and what to do."""
    return UnsupportedModelError(
        f"{backbone.model_id} has layers ({backbone.config.model_type}) that work in a way this version does not know: "
        f"{problem}.",
        next_step="Choose a model with attention in every layer, such as those of 'tokmem-desk model list'.",
    )


def _attempt(run: Callable[[], _Result]) -> tuple[str | None, _Result | None]:
    """What went wrong, in a clause, and the result. Models raise anything where they are used in an unknown way."""
    try:
        return None, run()
    except TokmemError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {first_line(error)}".rstrip(": "), None


def _queries(backbone: CheckedModel) -> list[list[int]]:
    """Two queries of different lengths."""
    layout = backbone.format
    room = max(1, min(_SEEN, backbone.context_length // 4))
    return [
        [*layout.head_ids, *layout.encode_text(message)[:room], *layout.tail_ids] or [layout.end_id]
        for message in _MESSAGES
    ]


def _probe(backbone: CheckedModel) -> tuple[Rotations, list[int]]:
    """Run single tokens at several positions, and put the layers into groups by what is seen.

    Returns:
        How keys turn, and the layers of which that is not known.
    """
    decoder, layout = backbone.decoder, backbone.layout
    query = _queries(backbone)[0]
    ids = torch.tensor([[token] for token in query[-_PROBES:]], device=backbone.torch_device)
    positions = [min(position, backbone.context_length - 1) for position in _POSITIONS]
    keys: dict[int, list[Tensor]] = {layer: [] for group in layout.groups for layer in group.layers}
    sizes: dict[int, tuple[int, ...]] = {}
    calls = []
    for position in positions:
        cache = layout.new_cache()
        places = torch.full_like(ids, position)
        with watched_calls(decoder, places) as seen:
            backbone.run_ids(ids, cache, positions=places)
        if position == positions[1]:
            calls = seen
        for layer, found in keys.items():
            k, v = cache.layers[layer].keys, cache.layers[layer].values
            found.append(k)
            sizes[layer] = (k.shape[1], k.shape[3], v.shape[3])
    if not keys:
        return Rotations(decoder, (), {}), []
    calls, kinds, unknown = find_kinds(decoder, calls, keys, positions)
    rotations = Rotations(decoder, calls, {**kinds, **dict.fromkeys(unknown)})
    layout.regroup({layer: rotations.of(layer) for layer in keys}, sizes)
    return rotations, unknown
