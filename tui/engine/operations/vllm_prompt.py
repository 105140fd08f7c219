"""``vllm_prompt``: what a vLLM server is to be asked for one message, instead of answering it here.

Reads the message as ``ask`` does, so that its route is the same, and stops in front of the answer. What vLLM cannot
carry is said in ``here``, and ``ask`` answers it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

import torch

from profiles.store.memories import read_memory_file
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import fit_conversation
from tokmem_desk.errors import ContextLengthError, LockedError, NotFoundError
from tokmem_desk.generation.constrained import reads_tokens
from tokmem_desk.generation.decoding import CHAT_TOKENS, PROCEDURE_TOKENS, Sampling
from tokmem_desk.generation.extraction import can_extract
from tokmem_desk.generation.listing import listed
from tokmem_desk.generation.pointing import pointed
from tokmem_desk.generation.recall import Bank, Routed, recall
from tokmem_desk.memory.file import memory_from_bytes
from tokmem_desk.models.expectations import SMALL_BELOW
from tokmem_desk.procedures import AUTO_ROUTE
from tokmem_desk.templates.asked_form import AskedForm
from tokmem_desk.templates.patterns import PatternError
from tokmem_desk.templates.single_use import FormWalk
from tokmem_vllm.bank_service import share_memory
from tokmem_vllm.prompts import answering_prompt, answering_wish, reading_wish
from tui.engine.engine import Engine
from tui.engine.operation import operation
from tui.engine.operations.ask import (
    AskFields,
    messages_cut_of,
    plain_places,
    routed_fields,
    said_in,
    sampling_of,
    turns_of,
)
from tui.engine.request import Request
from tui.engine_client.protocol import Message

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_vllm.model_facts import ModelFacts


class VllmPromptFields(AskFields):
    """As for ``ask``."""

    banks: str
    """Folder or URL in which vLLM's connector finds memories; the memory that answers is put there."""


class Steered(TypedDict):
    """The request that answers under a memory."""

    embeds: str
    """[(q + m + r) x d] the prompt's embeddings, as torch writes a tensor, in base64."""
    salt: str
    """Its ``cache_salt``."""
    params: Message
    """Its ``kv_transfer_params``."""


class VllmPrompt(TypedDict):
    """What to ask, and what is known of the answer before."""

    routed: Message
    """The fields of the ``route`` event."""
    here: str
    """Why ``ask`` is to answer it; empty where vLLM can. Then nothing but ``routed`` is of use."""
    text: NotRequired[str]
    """The answer, where there is nothing to generate: a plan that a person has written."""
    ids: NotRequired[list[int]]
    """[q] token ids of what is read: the message, of plain chat the conversation."""
    reading: NotRequired[Message]
    """``kv_transfer_params`` of the request that reads it; of a memory's answer only."""
    steered: NotRequired[Steered]
    span: NotRequired[int]
    """Positions of the memory, rows included."""
    limit: NotRequired[int]
    """Tokens of the longest answer."""
    structured: NotRequired[Message]
    """vLLM's ``structured_outputs``; missing where the answer is free."""
    draw: NotRequired[Message]
    """How tokens are drawn, in vLLM's fields; missing where the likeliest are taken."""
    stop_ids: NotRequired[list[int]]
    stop_text: NotRequired[str | None]
    schema: NotRequired[str]
    """The JSON schema that the answer has to fit; missing where there is none."""
    length: NotRequired[int]
    """Of the model's context."""
    messages_cut: NotRequired[int]


@operation("vllm_prompt", fields=VllmPromptFields, result=VllmPrompt)
def vllm_prompt(engine: Engine, request: Request) -> Iterator[None]:
    """Route the message and say what to ask."""
    message, entries = request.text("text"), request.fields.get("conversation") or []
    turns, wanted = turns_of(entries), request.fields.get("asked")
    asked = None if wanted is None else AskedForm.read(wanted)
    yield from engine.ready_to_answer(request)
    backbone = engine.model.backbone
    places = plain_places(entries) if backbone.parameter_count() < SMALL_BELOW else range(len(entries))
    with engine.profile(request) as (store, settings):
        bank = engine.bank(store, settings)
        limit = request.fields.get("max_tokens") or settings.whole("max_answer_tokens")
        sampling = sampling_of(engine, request, settings)
    steps = recall(
        backbone,
        bank,
        message,
        route=request.text("route", AUTO_ROUTE),
        cancelled=request.cancelled.is_set,
        asked=asked,
        said=None if request.fields.get("references") is False else said_in(entries),
    )
    for step in steps:
        if isinstance(step, Routed):
            routed = step
            break
        yield
    steps.close()  # type: ignore[attr-defined]
    found: VllmPrompt = {"routed": routed_fields(routed, bank, held=asked is not None), "here": ""}
    memory = bank.memories.get(routed.route)
    found["here"] = _stays_here(backbone, bank, routed, message, memory, held=asked is not None)
    plan = "" if memory is None or asked is not None else bank.plans.get(routed.route, "")
    if not found["here"] and plan:
        found["text"] = plan
    elif not found["here"]:
        reads = routed.route in bank.conversation_aware
        shown = list(range(len(entries))) if reads else list(places)
        seen = [turns[place] for place in shown if memory is None or (reads and turns[place].role != "system")]
        _fill(found, backbone, bank, routed, memory, seen, limit, asked)
        found["messages_cut"] = messages_cut_of(found["messages_cut"], entries, shown)
        if memory is not None:
            _share(found, engine, request, backbone, routed.route)
        elif sampling is not None:
            found["draw"] = _draw(sampling)
    request.emit("done", result=found)
    yield


def _stays_here(
    backbone: Backbone, bank: Bank, routed: Routed, message: str, memory: Memory | None, *, held: bool
) -> str:
    """Why vLLM cannot answer this; empty where it can."""
    if (routed.typed or routed.part) != message:
        return "several requests"
    if memory is not None and not held and can_extract(backbone, memory):
        return "copied words"
    if not held and routed.route in bank.following:
        return "chain"
    return ""


def _fill(
    found: VllmPrompt,
    backbone: Backbone,
    bank: Bank,
    routed: Routed,
    memory: Memory | None,
    seen: list[Turn],
    wanted: int | None,
    asked: AskedForm | None,
) -> None:
    """Note what is read, how long the answer may be, and what form it is held to.

    Raises:
        ContextLengthError: there is no room for an answer.
    """
    limit = wanted or (CHAT_TOKENS if memory is None else PROCEDURE_TOKENS)
    span = 0 if memory is None else memory.steering.span
    cut = 0
    if seen:
        ids, cut = fit_conversation(backbone, [*seen, Turn("user", routed.part)], room=limit + span)
    else:
        ids = backbone.format.query(routed.part)
    room = backbone.context_length - len(ids) - span
    if room < 1:
        raise ContextLengthError(
            f"The message has {len(ids):,} tokens; the model reads {backbone.context_length:,}.",
            next_step="Send a shorter one.",
        )
    found["ids"], found["span"], found["limit"] = list(ids), span, min(limit, room)
    found["stop_ids"] = sorted(backbone.format.stop_ids)
    found["stop_text"] = backbone.format.stop_text if memory is None else None
    found["length"], found["messages_cut"] = backbone.context_length, cut
    if memory is not None and asked is not None and asked.plain_only:
        asked = None
    schema = None if memory is None or asked is not None else bank.schemas.get(routed.route)
    if asked is not None:
        found["structured"] = {"grammar": lark_of(asked.grammar)}
    elif schema is not None:
        found["structured"], found["schema"] = {"grammar": lark_of(schema.grammar)}, json.dumps(schema.closed)
    elif memory is not None and routed.route in bank.plans:
        found["structured"] = {"grammar": lark_of(bank.steps_grammar)}
    elif memory is not None and not seen and (pattern := form_pattern(backbone, memory, routed.part)):
        found["structured"] = {"regex": pattern}


def form_pattern(backbone: Backbone, memory: Memory, message: str) -> str | None:
    """The regular expression of answers in the form that a memory's pairs share; None where they share none.

    The message's own values are in it. What depends on the beginning of an answer is not: that no word is used twice,
    and which of a closed set is the likeliest.
    """
    form = memory.answer_template
    if form is None:
        return None
    tokens = None
    if reads_tokens(memory) and backbone.token_space is not None:
        done = backbone.prefill([backbone.format.query(message)], token_space=backbone.token_space)
        tokens = done.tokens[0] if done.tokens else None
    form = listed(backbone, pointed(backbone, form, message, tokens), message, tokens)
    try:
        return (FormWalk(form, message).begin() if form.once else None) or form.pattern(message)
    except PatternError:  # the message makes it larger than is of use, and answers are free
        return None


def lark_of(grammar: str) -> str:
    """A grammar as vLLM takes it, out of one as llguidance has it: it takes the text form alone."""
    if not grammar.lstrip().startswith("{"):
        return grammar
    (first, *_) = json.loads(grammar)["grammars"]
    if first.get("lark_grammar"):
        return str(first["lark_grammar"])
    return f"start: %json {json.dumps(first['json_schema'])}\n"


def _share(found: VllmPrompt, engine: Engine, request: Request, backbone: Backbone, route: str) -> None:
    """Put the memory where vLLM finds it, and note both requests.

    Rows and span are those of the very file that is put there: another memory may answer since the route was found.

    Raises:
        LockedError: what is encrypted here must not lie there as it is.
        NotFoundError: the memory was removed since the route was found.
        TokmemError: the memory cannot be read, or the store not be written.
    """
    with engine.profile(request) as (store, _):
        if store.files.key is not None:
            raise LockedError(
                "The memories of a locked profile stay on this computer: where vLLM reads them they would not be "
                "encrypted.",
                next_step="Ask with model 'none', or serve it with tokmem-desk's own engine.",
            )
        record = store.memories.active(route, backbone.fingerprint.digest)
        if record is None:
            raise NotFoundError(f"The memory of {route!r} was removed meanwhile.", next_step="Ask again.")
        data, person = read_memory_file(store.files, store.memories.folder / record.file), store.folder.name
    memory = memory_from_bytes(data, backbone, f"The memory of {route!r}")
    digest = share_memory(request.text("banks"), person, data)
    ids = found["ids"]
    wish = answering_wish(person, ids, digest, memory)
    written = io.BytesIO()
    # The backbone has all that is read of the facts.
    torch.save(answering_prompt(cast("ModelFacts", backbone), ids, memory).cpu(), written)
    found["span"] = memory.steering.span
    found["reading"] = reading_wish(person, ids).as_params()
    found["steered"] = {
        "embeds": base64.b64encode(written.getvalue()).decode(),
        "salt": wish.salt,
        "params": wish.as_params(),
    }


def _draw(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        **({} if sampling.seed is None else {"seed": sampling.seed}),
    }
