"""A scorecard as text: what a training achieved, beside the untrained backbone and the pairs put into the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from tui.engine_client.protocol import Confusion, PreviousScores, Scorecard, Trained, VerdictScores
from tui.kit.bar import bar
from tui.kit.verdict import WORSE_BY, chat_taken, verdict_of
from tui.kit.words import count, duration, part_of

SHOWN_LABELS = 8
BAR_CELLS = 16


def is_better(card: Scorecard) -> bool:
    """True when activating the memory is a step forward, as ``verdict`` sees it; never where nobody has measured."""
    return verdict_of(card).usable


def was_measured(card: Scorecard) -> bool:
    """False for a training that was stopped before, and where too few pairs were there to hold any out."""
    return "rouge_l" in card


def is_whole(card: Mapping[str, Any]) -> bool:
    """Whether ``card_text`` can show it: scorecards that came with a bank may be shorter."""
    figures = {"held_out", "held_out_source", "exact_match", "base", "confusion", "samples", "span", "pairs"}
    return {"seconds", "steps", "advice"} <= card.keys() and ("rouge_l" not in card or figures <= card.keys())


def card_text(one: Trained) -> Content:
    """A scorecard as text."""
    card = one["scorecard"]
    if not was_measured(card) and "verdicts" in card:
        words = f"  {card['pairs']} pairs and {card['verdicts']['learned']} verdicts learned; only verdicts measured it"
        lines = [Content.assemble(Content.styled(one["name"], "bold $primary"), Content.styled(words, "$muted"))]
        lines += [Content(f"→ {proposal}") for proposal in verdict_of(card).proposals]
        return Content("\n").join([*lines, Content(""), *_verdicts(card["verdicts"])])
    if not was_measured(card):
        words = f"  stopped after {card['steps']} steps and {duration(card['seconds'])}, before it was measured"
        if card.get("held_out_source") == "none":
            words = (
                f"  {card['pairs']} pairs learned in {duration(card['seconds'])}, {card['steps']} steps; not measured"
            )
        lines = [Content.assemble(Content.styled(one["name"], "bold $primary"), Content.styled(words, "$muted"))]
        return Content("\n").join([*lines, *(Content(f"→ {proposal}") for proposal in verdict_of(card).proposals)])
    source = "of your held-out pairs" if card["held_out_source"] == "test" else "pairs set aside from your own"
    lines = [
        Content.assemble(
            Content.styled(one["name"], "bold $primary"),
            Content.styled(
                f"  {card['pairs']} pairs learned in {duration(card['seconds'])}, {card['steps']} steps, "
                f"a memory of {card['span']} places; measured on {card['held_out']} {source}{_measured_in(card)}",
                "$muted",
            ),
        )
    ]
    lines += [Content(f"→ {proposal}") for proposal in verdict_of(card).proposals]
    if "verdicts" in card:
        lines += [Content(""), *_verdicts(card["verdicts"])]
    if previous := card.get("before"):
        lines += [Content(""), *_previous_and_new(previous, chat_taken(card)[1])]
    lines += [Content(""), *_comparison(card)]
    taken, chat = chat_taken(card)
    lines += [
        Content(""),
        Content.styled("Where the held-out messages went", "bold $primary"),
        *_confusion(card["confusion"]),
    ]
    lines.append(
        Content(
            f"{part_of(card['routing_accuracy'], card['held_out'])} found it; "
            f"{taken} of {chat} ordinary messages went to a procedure."
        )
    )
    if card["samples"]:
        lines += [Content(""), Content.styled("Held-out pairs", "bold $primary")]
        for sample in card["samples"]:
            lines += sample_lines(sample["input"], sample["expected"], sample["got"], sample["base"])
    return Content("\n").join(lines)


def _measured_in(card: Scorecard) -> str:
    """How long measuring took; nothing for cards that do not say it."""
    return f" in {duration(card['measuring_seconds'])}" if "measuring_seconds" in card else ""


def _have_learned(previous: PreviousScores) -> str:
    """A remark for memories that do not say which pairs they learned; older versions did not store that."""
    return "has learned" if previous.get("held_out_known", True) else "has learned, as far as is known"


def _comparison(card: Scorecard) -> list[Content]:
    prompt = card.get("prompt")
    rows = [
        ("this memory", card["exact_match"], card["rouge_l"], "no prompt"),
        ("untrained model", card["base"]["exact_match"], card["base"]["rouge_l"], ""),
    ]
    if prompt is not None:
        words = f"{prompt['tokens']} tokens a query"
        rows.append(("pairs in the prompt", prompt["exact_match"], prompt["rouge_l"], words))
    if elsewhere := card.get("elsewhere"):
        words = f"its memory is kept, version {elsewhere['version']}"
        rows.append((_model_name(elsewhere["backbone"]), elsewhere["exact_match"], elsewhere["rouge_l"], words))
    best = max(row[2] for row in rows)
    lines = [Content.styled(f"{'':<20} {'exact':>10} {'alike':>8}", "$muted")]
    for name, exact, rouge, words in rows:
        lines.append(
            Content.assemble(
                Content.styled(
                    f"{name:<20} {part_of(exact, card['held_out']):>10} {rouge:>8.0%}  ",
                    "bold" if rouge == best else "",
                ),
                bar(rouge, "$primary" if name == "this memory" else "$secondary", cells=BAR_CELLS),
                Content.styled(f"  {words}", "$muted"),
            )
        )
    if card.get("form_valid") is not None:
        lines.append(Content(f"{part_of(card['form_valid'], card['held_out'])} answers have the right form."))
    return lines


def _model_name(model: str) -> str:
    """The last part of a model's id, in as many cells as its column has."""
    name = model.rsplit("/", 1)[-1]
    return name if len(name) <= 20 else f"{name[:19]}…"


def _previous_and_new(previous: PreviousScores, chat: int) -> list[Content]:
    """The memory that answers so far and the new one, on pairs that neither has learned and ``chat`` messages."""
    now, total = previous["now"], previous["held_out"]
    pairs = count(total, "pair")
    heads = ("exact", "alike", "found", "chat taken")
    lines = [
        Content.assemble(
            Content.styled("Before and after", "bold $primary"),
            Content.styled(f"  on {pairs} that neither {_have_learned(previous)}", "$muted"),
        ),
        Content.styled(f"{'':<20} " + " ".join(f"{head:>10}" for head in heads), "$muted"),
    ]
    for name, scores in ((f"version {previous['version']}, active", previous), ("this memory", now)):
        cells = (
            part_of(scores["exact_match"], total),
            f"{scores['rouge_l']:.0%}",
            part_of(scores["routing_accuracy"], total),
            part_of(scores["false_trigger_rate"], chat),
        )
        style = "bold" if name == "this memory" else ""
        lines.append(Content.styled(f"{name:<20} " + " ".join(f"{cell:>10}" for cell in cells), style))
    change = now["rouge_l"] - previous["rouge_l"]
    lines.append(Content(f"→ {_compared(previous)} what you have now ({change * 100:+.0f} points alike)"))
    return lines


def _verdicts(scores: VerdictScores) -> list[Content]:
    """The memory that answers so far and the new one, on verdicts that were set aside to measure both."""
    held_out = scores["held_out"]
    head = f"  {count(scores['learned'], 'verdict')} learned; measured on {held_out} while they were set aside"
    lines = [
        Content.assemble(Content.styled("What you said of answers", "bold $primary"), Content.styled(head, "$muted")),
        Content.styled(f"{'':<20} {'met':>10} {'alike':>10}", "$muted"),
    ]
    for name, one in (("active", scores["before"]), ("this memory", scores["now"])):
        style = "bold" if name == "this memory" else ""
        lines.append(Content.styled(f"{name:<20} {part_of(one['right'], held_out):>10} {one['alike']:>10.0%}", style))
    return lines


def _compared(previous: PreviousScores) -> str:
    change = previous["now"]["rouge_l"] - previous["rouge_l"]
    return "better than" if change > WORSE_BY else "worse than" if change < -WORSE_BY else "about as good as"


def _confusion(confusion: Confusion) -> list[Content]:
    """Rows are where messages belong, columns where they went; only labels that occur are shown."""
    labels, counts = confusion["labels"], confusion["counts"]
    used = [place for place in range(len(labels)) if any(counts[place]) or any(row[place] for row in counts)]
    shown = used[:SHOWN_LABELS]
    if not shown:
        return []
    name_width = max(len(labels[place]) for place in shown)
    heads = [_head(labels[place]) for place in shown]
    widths = [max(5, len(head) + 1) for head in heads]
    lines = [
        Content.styled(
            " " * (name_width + 2) + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)),
            "$muted",
        )
    ]
    for row in shown:
        cells: list[Content] = [Content(f"{labels[row]:<{name_width}}  ")]
        for column, width in zip(shown, widths, strict=True):
            went = counts[row][column]
            style = "$muted" if not went else "bold $text-success" if row == column else "bold $text-error"
            cells.append(Content.styled(f"{went or '·':>{width}}", style))
        lines.append(Content("").join(cells))
    if len(used) > len(shown):
        lines.append(Content.styled(f"and {len(used) - len(shown)} more", "$muted"))
    return lines


def _head(label: str) -> str:
    return label if len(label) <= 12 else f"{label[:11]}…"


def sample_lines(question: str, expected: str, got: str, base: str | None = None) -> list[Content]:
    """A held-out pair beside what was answered; ``base`` is the untrained backbone's answer."""
    right = got.strip() == expected.strip()
    lines = [
        Content.assemble(Content.styled("› ", "$accent"), Content.styled(_short(question), "$muted")),
        Content.assemble(
            Content.styled("✓ " if right else "✗ ", "$text-success" if right else "$text-error"),
            Content(_short(got) or "(nothing)"),
        ),
    ]
    if not right:
        lines.append(Content.assemble("  wanted: ", Content(_short(expected))))
    if base is not None:
        lines.append(Content.styled(f"  untrained: {_short(base) or '(nothing)'}", "$muted"))
    return lines


def _short(text: str, width: int = 240) -> str:
    line = text.strip().replace("\n", " ⏎ ")
    return line if len(line) <= width else f"{line[: width - 1]}…"
