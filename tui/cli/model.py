"""``model``: list, fetch, choose, describe and remove backbones."""

from __future__ import annotations

import argparse
from typing import Any

from tokmem_desk.backbone.traits import read_traits
from tokmem_desk.errors import DamagedError, TokmemError
from tokmem_desk.models.catalogue import (
    ADAPTED,
    ADAPTED_NOTE,
    CATALOGUE,
    PRIOR_FILE,
    CatalogueEntry,
    find_entry,
    own_name,
)
from tokmem_desk.models.shipped import shipped_file
from tokmem_desk.models.speed_fit import MachineSpeed, estimate, in_words, kept
from tokmem_desk.models.store import ModelInfo
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.model_run import follow
from tui.cli.parsing import Parser, positive_number
from tui.kit.words import duration, parameters, size

PRIORS = {
    "shipped": "the prior that comes with the program",
    "learned": "the prior learned on this computer",
    "none": "their own pairs alone; see: tokmem-desk model prepare",
}
"""What ``model info`` says of what new memories start from."""

ADAPTERS = {
    "made": "the adapter made on this computer",
    "shipped": "the adapter that comes with the program",
}
"""Where an adapter comes from."""


_MODEL_ID = "'default', an id, a folder or a GGUF file"


def arguments(parser: Parser) -> None:
    """What can be typed behind ``model``."""
    actions = parser.actions()
    actions.add("list", list_all, "the models known by name, and those in the cache")
    for name, function, help_text in (
        ("pull", pull, "fetch a model and prepare it"),
        ("use", use, "make it the model that is used when none is named"),
        ("remove", remove, "delete a prepared model from the cache; of ID+adapted the adapter alone"),
    ):
        actions.add(name, function, help_text).add_argument("id", metavar="ID", help=_MODEL_ID)
    looking = actions.add("info", info, "licence, size, need of memory, and where it is")
    preparing = actions.add("prepare", prepare, "learn where its new memories start; once, some tens of minutes")
    for action in (looking, preparing):
        action.add_argument("id", metavar="ID", nargs="?", help=f"{_MODEL_ID}; without it the one in use")
    preparing.add_argument("--steps", metavar="N", type=positive_number, help="how long to learn (default: 500)")


def list_all(context: Context, options: argparse.Namespace) -> int:
    """List the models known by name, then the others in the cache."""
    stored = {info.id: info for info in context.models.list()}
    known = [(entry.id, entry, stored.pop(entry.id, None)) for entry in CATALOGUE]
    found = []
    for model_id, entry, info in [*known, *((info.id, None, info) for info in stored.values())]:
        found.append(_object(model_id, entry, info))
        if info is not None and info.adapter != "none":
            found.append(_adapted(found[-1]))
    in_use = _id_in_use(context)
    speed = kept(context.paths.cache)
    for one in found:
        one["in_use"] = one["id"] == in_use
        one |= _estimate(find_entry(one["id"].removesuffix(ADAPTED)), speed)
    rows = [
        (
            "*" if one["in_use"] else "",
            one["id"],
            parameters(one["parameters"]),
            size(one["disk_bytes"]) if one["folder"] else "-",
            size(one["download_bytes"]),
            size(one["memory_bytes"]),
            _share(one),
            _quickness(one),
            one["licence"] + (" (ask on the Hub)" if one["gated"] else ""),
        )
        for one in found
    ]
    headings = ("", "model", "parameters", "on disk", "download", "memory", "4 bit", "words/s", "licence")
    context.console.result({"models": found}, table(headings, rows, right=(2, 3, 4, 5, 6, 7)))
    if speed is None:
        context.console.say("How fast each would be here is not measured yet: tokmem-desk doctor")
    return ExitCode.OK


def pull(context: Context, options: argparse.Namespace) -> int:
    """Fetch a model and prepare it."""
    model_context = context.with_model(options.id)
    source = model_context.models.resolve(options.id)
    if model_context.models.is_ready(options.id):
        try:
            model_context.models.verify(options.id)
            context.console.say(f"{source.id} is ready already.")
        except DamagedError as error:
            context.console.say(f"{error.message} It is made anew.")
            # Whoever asks for a model agrees to fetching it.
    backbone = model_context.engine.load(profile=False)
    text = f"{backbone['id']} is ready. To use it by default: tokmem-desk model use {options.id}"
    return changed(context, "model pull", [backbone["id"]], text, backbone=backbone)


def prepare(context: Context, options: argparse.Namespace) -> int:
    """Learn where new memories of a model start; what was stopped goes on the next time."""
    model_context = context if options.id is None else context.with_model(options.id)
    backbone = model_context.engine.load(profile=False)
    if backbone["prior"]:
        model_context.console.say("New memories of this model start from a prior already; the new one takes its place.")
    model_context.console.say(f"{backbone['id']} on {backbone['device']} ({backbone['reason']})")

    def finished(result: dict[str, Any]) -> str:
        return (
            f"New memories of {result['id']} start from what was learned in {duration(result['seconds'])}. "
            "Those trained before stay as they are."
        )

    return follow(model_context, "prepare", "learning where memories start", finished, steps=options.steps)


def use(context: Context, options: argparse.Namespace) -> int:
    """Make a model the default of this person."""
    source = context.models.resolve(options.id)
    # A relative path means something else in another folder.
    adapted = ADAPTED if options.id.endswith(ADAPTED) else ""
    if adapted:
        context.models.info(options.id).require_adapter()
    model = options.id if source.path is None else str(source.path) + adapted
    row = context.settings.set("model", model)
    text = f"{source.id}{adapted} is used from now on."
    if row.value != model:
        text = f"Written to the settings, but {row.source} says {row.value}, which wins."
    return changed(context, "model use", [source.id + adapted], text)


def info(context: Context, options: argparse.Namespace) -> int:
    """Describe one model."""
    model = options.id or context.model
    found = context.models.info(model)
    one = _object(found.id, found.entry, found if found.record is not None else None)
    adapted = model.endswith(ADAPTED)
    if adapted:
        found.require_adapter()
        one = _adapted(one)
    one["in_use"] = one["id"] == _id_in_use(context)
    speed = kept(context.paths.cache)
    one |= _estimate(found.entry, speed)
    quick = None if speed is None or found.entry is None else estimate(found.entry, speed)
    one["prior"] = _prior(found, adapted=adapted)
    one["adapter"] = found.adapter
    traits = read_traits(found.folder) if found.folder is not None and one["ready"] else None
    one["memory_form"] = traits.strength if traits is not None else None
    with_adapter = ADAPTERS.get(found.adapter)
    if with_adapter and not adapted:
        with_adapter += f"; use it with: tokmem-desk model use {model}{ADAPTED}"
    damage = f", damaged ({found.damage})" if found.damage else ""
    facts = [
        ("model", one["id"]),
        ("title", one["title"]),
        ("licence", f"{one['licence'] or 'not known'} {one['licence_url'] or ''}".strip()),
        ("parameters", parameters(one["parameters"])),
        ("download", size(one["download_bytes"])),
        ("memory", size(one["memory_bytes"])),
        ("speed here", None if quick is None else in_words(quick)),
        ("ready", "yes" if one["ready"] else f"no{damage}; fetch it: tokmem-desk model pull {model}"),
        ("on disk", size(one["disk_bytes"]) if one["ready"] else "-"),
        ("folder", one["folder"]),
        ("source", one["source"]),
        ("revision", one["revision"]),
        ("weights", _weights(one, found)),
        ("memories are", one["memory_form"] or ("found when it is first loaded" if one["ready"] else None)),
        ("memories start from", _start(one["prior"], None if traits is None else traits.form)),
        ("adapted with", with_adapter),
        ("note", one["note"]),
    ]
    context.console.result(one, table(("what", "value"), [fact for fact in facts if fact[1] not in (None, "")]))
    return ExitCode.OK


def remove(context: Context, options: argparse.Namespace) -> int:
    """Delete a prepared model from the cache, which can be fetched again; of an adapted one, the adapter alone."""
    found = context.models.resolve(options.id)
    if options.id.endswith(ADAPTED):
        return _remove_adapter(context, options, found.id)
    freed = context.models.remove(options.id)
    return changed(context, "model remove", [found.id], f"Removed {found.id}: {size(freed)} freed.", freed_bytes=freed)


def _object(model_id: str, entry: CatalogueEntry | None, stored: ModelInfo | None) -> dict[str, Any]:
    record = None if stored is None else stored.record
    return {
        "id": model_id,
        "title": entry.title if entry else model_id,
        "licence": record.licence if record else entry.licence if entry else "",
        "licence_url": entry.licence_url if entry else None,
        "parameters": entry.parameters if entry else None,
        "download_bytes": entry.download_bytes if entry else None,
        "memory_bytes": entry.memory_bytes if entry else None,
        "disk_bytes": record.size if record else entry.disk_bytes if entry else None,
        "gated": bool(entry and entry.gated),
        "ready": record is not None and stored is not None and not stored.damage,
        "folder": str(stored.folder) if stored and stored.folder else None,
        "source": record.source if record else None,
        "revision": record.revision if record else None,
        "quantisation": record.quantisation if record else None,
        "quantised_share": record.quantised_share if record else None,
        "note": entry.note if entry else "",
    }


def _estimate(entry: CatalogueEntry | None, speed: MachineSpeed | None) -> dict[str, Any]:
    """What is known of a model's speed here: all of it or nothing."""
    found = None if entry is None or speed is None else estimate(entry, speed)
    return {
        "first_word_seconds": None if found is None else round(found.first_word_seconds, 2),
        "words_per_second": None if found is None else round(found.words_per_second, 1),
        "training_minutes": None if found is None else round(found.training_minutes, 2),
        "pleasant": None if found is None else found.pleasant,
    }


def _quickness(one: dict[str, Any]) -> str:
    words = one["words_per_second"]
    return "-" if words is None else f"{words:.0f}"


def _share(one: dict[str, Any]) -> str:
    share = one["quantised_share"]
    return "-" if share is None else f"{share:.0%}"


def _weights(one: dict[str, Any], found: ModelInfo) -> str | None:
    """How the weights are kept, with the share in 4 bit and why no more of them are."""
    if found.record is None or found.record.quantised_share is None:
        return str(one["quantisation"]) if one["quantisation"] else None
    return f"{one['quantisation']}: {found.record.reason}"


def _start(prior: str, form: str | None) -> str:
    """What new memories start from; learning that is proposed only where the model can.

    Args:
        form: of its memories; None before the model was first loaded.
    """
    if prior == "none" and form is not None and form != "layers":
        return "the mean of its vocabulary: memories that are rows alone have no prior to learn"
    return PRIORS[prior]


def _prior(model: ModelInfo, *, adapted: bool) -> str:
    """What new memories of a model start from, as the engine chooses; whether a file is sound shows when it loads."""
    if model.folder is not None and (model.folder / own_name(PRIOR_FILE, adapted=adapted)).is_file():
        return "learned"
    return "shipped" if shipped_file("prior", model.id + (ADAPTED if adapted else "")).is_file() else "none"


def _adapted(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "id": one["id"] + ADAPTED, "title": f"{one['title']}, adapted to chains", "note": ADAPTED_NOTE}


def _remove_adapter(context: Context, options: argparse.Namespace, model_id: str) -> int:
    freed = context.models.remove_adapter(options.id)
    left = context.models.info(options.id).adapter
    then = f" The one that comes with the program is used for {model_id}{ADAPTED} again." if left == "shipped" else ""
    text = f"Removed the adapter that was made for {model_id}: {size(freed)} freed.{then}"
    return changed(context, "model remove", [model_id + ADAPTED], text, freed_bytes=freed)


def _id_in_use(context: Context) -> str:
    """The id of the model in the settings; what they say itself when that names none."""
    try:
        adapted = ADAPTED if context.model.endswith(ADAPTED) else ""
        return context.models.resolve(context.model).id + adapted
    except TokmemError:
        return context.model
