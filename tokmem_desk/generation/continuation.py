"""Ask the backbone for one more text of the kind of a list of texts.

Small models follow instructions badly and continue texts well. So the answer begins with the given texts, one a line,
and what the model writes up to the next line end is the new one. Knows no procedure and no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tokmem_desk.generation.decoding import Chooser, Sampling, step

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

REQUEST = "Write more messages of this kind, one on each line."
LINE_TOKENS = 96
"""Tokens of a line at most; a longer one is given up."""


def next_line(
    backbone: Backbone,
    lines: Sequence[str],
    sampling: Sampling,
    *,
    request: str = REQUEST,
    may_end: bool = False,
    max_tokens: int = LINE_TOKENS,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[str | None]:
    """One more line like the given ones; yields None after each token, then the line.

    The line is empty when the model ended its answer (but see ``may_end``), did not come to an end, or was stopped.

    Args:
        lines: texts of one kind; line ends within them count as spaces.
        sampling: how to draw; greedy would always write the same.
        request: what the answer that begins with the lines was asked for.
        may_end: an answer that ended is a line too.
        max_tokens: longest line.
        cancelled: asked between tokens.

    Raises:
        IncompatibleError: the texts are longer than the context.
    """
    begun = "".join(" ".join(line.split()) + "\n" for line in lines)
    ids = [*backbone.format.query(request), *backbone.format.encode_text(begun)]
    backbone.check_length(len(ids), max_tokens)
    prefilled = backbone.prefill([ids])
    batch, logits = backbone.layout.join(prefilled.states, [None]), backbone.logits(prefilled.last_hidden)[0]
    chooser = Chooser(sampling, greedy=False)
    written: list[int] = []
    for _ in range(max_tokens):
        token = chooser.pick(logits)
        if token in backbone.format.stop_ids or cancelled():
            if may_end and written and not cancelled():
                yield (backbone.format.decode(written).strip().splitlines() or [""])[0].strip()
                return
            break
        written.append(token)
        text = backbone.format.decode(written)
        if "\n" in text.lstrip():
            yield text.strip().splitlines()[0].strip()
            return
        yield None
        logits = step(backbone, batch, token)
    yield ""
