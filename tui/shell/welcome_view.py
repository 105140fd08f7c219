"""The texts of the first steps, made from values alone."""

from __future__ import annotations

from textual.content import Content

from tokmem_desk.models.catalogue import CATALOGUE, CatalogueEntry
from tokmem_desk.models.hardware_fit import Fit, Machine, fit, needed_bytes
from tui.engine_client.link import EngineState
from tui.engine_client.protocol import Scorecard, ScoreSample, Trained
from tui.kit.bar import bar
from tui.kit.verdict import verdict_of
from tui.kit.words import count, duration, elapsed, parameters, shortened, size
from tui.models.model_view import VERDICT_COLOURS, VERDICT_SIGNS, expected_of
from tui.models.pull import ModelPull
from tui.training.queue import TrainJob

STEPS = (
    ("model", "This computer", "and what it can run"),
    ("getting", "The model", "fetched once, kept here"),
    ("sample", "A first procedure", "shown by example pairs"),
    ("result", "Try it", "it comes by itself, in chat"),
)
_PLACE = {"model": 0, "getting": 1, "sample": 2, "learning": 2, "result": 3}


def rail(step: str, *, in_a_line: bool) -> Content:
    """The list of steps, each marked as done, current or still to come."""
    here = _PLACE[step]
    signs = ["✓" if place < here else "▸" if place == here else "○" for place in range(len(STEPS))]
    styles = ["$text-success" if sign == "✓" else "bold $accent" if sign == "▸" else "$muted" for sign in signs]
    if in_a_line:
        parts = [
            Content.styled(f"{sign} {title}", style)
            for (_, title, _), sign, style in zip(STEPS, signs, styles, strict=True)
        ]
        return Content("   ").join(parts)
    lines = [Content.styled("Welcome", "bold $primary"), Content("")]
    for (_, title, words), sign, style in zip(STEPS, signs, styles, strict=True):
        lines += [Content.styled(f"{sign} {title}", style), Content.styled(f"  {words}", "$muted"), Content("")]
    lines.append(Content.styled("All of it stays on this computer.", "$muted"))
    return Content("\n").join(lines)


def about_machine(
    machine: Machine,
    entry: CatalogueEntry | None,
    wanted: str,
    reason: str,
    *,
    ready: bool,
    offline: bool,
    short: bool,
) -> Content:
    """What this computer has and can run, and the model for it.

    Args:
        machine: its figures.
        entry: the model, where the catalogue knows it.
        wanted: the model's name.
        reason: why this one.
        ready: it is here already.
        offline: it is not here, and downloads are off.
        short: there is room for some fifteen lines only.
    """
    gap = [] if short else [Content("")]
    facts = [
        ("processor", f"{machine.processor}, {count(machine.cores, 'core')}"),
        ("memory", f"{size(machine.memory_bytes)}, {size(machine.free_bytes)} free now"),
        (
            "graphics",
            f"{machine.gpu}, {size(machine.gpu_memory_bytes)}, {size(machine.gpu_free_bytes)} free"
            if machine.gpu
            else "no card that can help; the processor does the work",
        ),
        ("can run", _can_run(machine)),
    ]
    lines = [Content.styled("What this computer can run", "bold $primary"), *gap, *_table(facts), Content("")]
    lines += [Content.styled("The model for it", "bold $primary"), *gap]
    if entry is None:
        lines.append(Content.assemble(Content.styled(wanted, "bold"), f", {reason}"))
    else:
        found = _fit(machine, entry)
        colour = VERDICT_COLOURS[found.verdict]
        chosen = [
            ("model", f"{entry.title}, {parameters(entry.parameters)} parameters"),
            ("why", reason),
            ("licence", f"{entry.licence}, {entry.licence_url}"),
            ("download", "none: it is on this computer" if ready else size(entry.download_bytes)),
        ]
        chosen[1:1] = expected_of(entry)
        if not ready:
            chosen.append(("disk", f"about {size(entry.space_bytes)} while it is prepared"))
        lines += _table(chosen)
        lines.append(
            Content.assemble(
                Content.styled(f"{'memory':<11}", "$muted"),
                f"{size(found.need)} of {size(found.free)} free  ",
                Content.styled(f"{VERDICT_SIGNS[found.verdict]} {found.verdict}", f"bold {colour}"),
            )
        )
    lines.append(Content(""))
    if offline:
        lines.append(
            Content.styled(
                "! Offline: it cannot be fetched. Turn 'offline' off (F9), or name a file of your own (F8, then a).",
                "$text-warning",
            )
        )
    elif not ready:
        lines.append(Content("Nothing is fetched before you agree, and nothing is ever sent."))
    return Content("\n").join(lines)


def about_model(pull: ModelPull | None, state: EngineState) -> Content:
    """The progress of the download or of loading."""
    lines = [Content.styled("Getting the model ready", "bold $primary"), Content("")]
    if pull is not None:
        lines += [Content(f"{pull.title}: {pull.words}"), bar(pull.fraction or 0.0)]
        if pull.state == "paused":
            lines.append(Content.styled("What has arrived is kept, also when you quit.", "$muted"))
        elif pull.detail:
            lines.append(Content.styled(pull.detail, "$muted"))
    else:
        lines += [
            Content(f"{state.text[0].upper()}{state.text[1:]}{elapsed(state.seconds)}"),
            bar(state.fraction or 0.0),
        ]
        lines.append(Content.styled("This happens once; later starts take seconds.", "$muted"))
    return Content("\n").join(lines)


def about_sample() -> Content:
    """An explanation of procedures."""
    return Content.assemble(
        Content.styled("Teach it something", "bold $primary"),
        "\n\nA procedure is a skill you show by example: what you type, and what you want back. No prompt to write. "
        "Choose one of these to see how it works; your own come later (F3).",
    )


def about_learning(job: TrainJob) -> Content:
    """The progress of the training, and the model's present answer to a held-out input."""
    progress = job.progress
    left = "" if progress.eta_s is None else f", {duration(progress.eta_s)} left"
    lines = [
        Content.styled(f"Learning {job.name}", "bold $primary"),
        Content(""),
        Content(f"{progress.fraction:.0%} done{left}"),
        bar(progress.fraction),
    ]
    if progress.loss is not None:
        lines.append(Content.styled(f"loss {progress.loss:.2f}: how surprised it still is by your answers", "$muted"))
    if progress.samples:
        sample = progress.samples[-1]
        sign = "✓" if sample["got"].strip() == sample["expected"].strip() else "…"
        lines += [
            Content(""),
            Content.styled("A message that it does not learn from:", "$muted"),
            Content(f"  {sample['input']}"),
            Content.assemble(Content.styled(f"{sign} ", "$accent"), Content.styled(sample["got"], "bold")),
        ]
    lines += [Content(""), Content.styled("The model itself is not changed, only a small memory beside it.", "$muted")]
    return Content("\n").join(lines)


def about_result(trained: Trained) -> Content:
    """The result of the training, measured on held-out pairs."""
    card = trained["scorecard"]
    lines = [Content.styled(f"It has learned {trained['name']}", "bold $primary"), Content("")]
    if "exact_match" in card:
        held_out, base = card["held_out"], card["base"]
        lines.append(
            Content(f"Learned in {duration(card['seconds'])}. On {count(held_out, 'message')} that it never saw:")
        )
        for words, scores in (("with the memory", card), ("without it", base)):
            right = round(scores["exact_match"] * held_out)
            like = scores["rouge_l"]
            lines += [
                Content.assemble(
                    Content.styled(f"{words:<17}", "$muted"),
                    Content.styled(f"{right} of {held_out} word for word", "bold"),
                    Content.styled(f"   {like:.0%} alike", "$muted"),
                ),
                bar(like),
            ]
        lines += [Content(""), Content(verdict_of(card).sentence)]
        sample = first_try(card)
        if sample is not None:
            lines += [
                Content(""),
                Content.assemble(Content.styled("you type    ", "$muted"), sample["input"]),
                Content.assemble(Content.styled("you get     ", "$muted"), Content.styled(sample["got"], "bold")),
                Content.assemble(Content.styled("before      ", "$muted"), shortened(sample["base"], 70)),
            ]
    else:
        lines.append(Content(verdict_of(card).sentence))
    lines += [
        Content(""),
        Content("Nothing changes in the chat before you say so. Then just type: it is recalled by itself."),
    ]
    return Content("\n").join(lines)


def first_try(card: Scorecard) -> ScoreSample | None:
    """The held-out pair that a newcomer sees and types first: one that came out right, if any did.

    What the scorecard counts stays as it is; a first try shows what the memory can do. None without held-out pairs.
    """
    samples = card.get("samples") or []
    right = (sample for sample in samples if sample["got"].strip() == sample["expected"].strip())
    return next(right, samples[0] if samples else None)


def _table(facts: list[tuple[str, str]]) -> list[Content]:
    return [Content.assemble(Content.styled(f"{name:<11}", "$muted"), value) for name, value in facts]


def _fit(machine: Machine, entry: CatalogueEntry) -> Fit:
    need = needed_bytes(entry, None, machine)
    assert need is not None
    return fit(machine, need=need[0], weights=need[1])


def _can_run(machine: Machine) -> str:
    """How many models of the catalogue fit this computer, and the largest of them."""
    fitting = [entry for entry in CATALOGUE if _fit(machine, entry).verdict == "fits"]
    if not fitting:
        return "small models once other programs are closed"
    largest = max(fitting, key=lambda entry: entry.parameters)
    slow = "; large ones slowly" if not machine.gpu and largest.parameters > 1e9 else ""
    return f"{len(fitting)} of {len(CATALOGUE)} listed models, up to {largest.title.removesuffix(' Instruct')}{slow}"
