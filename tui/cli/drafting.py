"""Which model writes drafts for a command: the largest that is here and fits, unless one was named."""

from __future__ import annotations

from tokmem_desk.models.hardware_fit import look_at_machine
from tui.cli.context import Context
from tui.shared.drafting_model import larger_than


def drafting_context(context: Context) -> Context:
    """The context of the model that writes; the same one where that is the model in use. Says which it is."""
    if context.options.model is not None:
        return context
    in_use = context.models.resolve(context.model).id
    larger = larger_than(in_use, context.models.list(), look_at_machine())
    if larger is None:
        return context
    context.console.say(f"Drafted by {larger}, the largest model here that fits.")
    return context.with_model(larger)
