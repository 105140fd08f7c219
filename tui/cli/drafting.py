"""Which model writes drafts for a command: the largest that is here and fits, unless one was named."""

from __future__ import annotations

from tokmem_desk.models.hardware_fit import look_at_machine
from tui.cli.context import Context
from tui.shared.drafting_model import largest_that_fits


def drafting_context(context: Context) -> Context:
    """The context of the model that writes; the same one where that is the model in use. Says which it is."""
    if context.options.model is not None:
        return context
    largest = largest_that_fits(context.models.list(), look_at_machine())
    if largest is None or largest == context.models.resolve(context.model).id:
        return context
    context.console.say(f"Drafted by {largest}, the largest model here that fits.")
    return context.with_model(largest)
