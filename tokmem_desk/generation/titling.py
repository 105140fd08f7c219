"""Ask the backbone what a conversation is about, in a few words. Knows no file and no list of chats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.generation.decoding import Chooser, step

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

REQUEST = "Write a title for this conversation, two to six words in its language, and nothing else."
TITLE_TOKENS = 20
SHOWN_CHARACTERS = 400
"""Characters of the question and of the answer that are read."""


def propose_title(
    backbone: Backbone, question: str, answer: str, *, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[str | None]:
    """A title for a conversation from its first exchange; yields None after each token, then the title line.

    The line is empty when the model wrote none or was stopped.

    Raises:
        IncompatibleError: the texts are longer than the context.
    """
    turns = [
        Turn("user", question[:SHOWN_CHARACTERS]),
        Turn("assistant", answer[:SHOWN_CHARACTERS]),
        Turn("user", REQUEST),
    ]
    ids = backbone.format.conversation(turns)
    backbone.check_length(len(ids), TITLE_TOKENS)
    yield None
    if cancelled():
        yield ""
        return
    prefilled = backbone.prefill([ids])
    batch, logits = backbone.layout.join(prefilled.states, [None]), backbone.logits(prefilled.last_hidden)[0]
    chooser = Chooser(None, greedy=True)
    written: list[int] = []
    while len(written) < TITLE_TOKENS:
        yield None
        if cancelled():
            yield ""
            return
        token = chooser.pick(logits)
        if token in backbone.format.stop_ids:
            break
        written.append(token)
        if "\n" in backbone.format.decode(written).lstrip():
            break
        logits = step(backbone, batch, token)
    else:
        yield ""  # a sentence, not a title
        return
    yield (backbone.format.decode(written).strip().splitlines() or [""])[0].strip()
