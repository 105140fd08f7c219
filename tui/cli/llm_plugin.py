"""The model ``tokmem-desk`` of the program ``llm``, which finds this module by its entry point.

With a token (``llm keys set tokmem``) it asks a running ``serve``; without one it starts an engine of its own, which
ends with ``llm``. Nothing is kept in the chats here: ``llm`` has a log of its own. Imported by ``llm`` at each of its
starts, so whatever takes time is imported when a model is asked.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field

from tokmem_desk.errors import TokmemError, UsageError
from tokmem_desk.procedures import AUTO_ROUTE

if TYPE_CHECKING:
    from tui.cli.context import Context

ADDRESS = "http://127.0.0.1:8642/v1"
_OWN_OPTIONS = ("route", "profile", "url")
_contexts: dict[str, Context] = {}
"""By profile: the engine of a chat is started once."""


@llm.hookimpl  # type: ignore[untyped-decorator]
def register_models(register: Any) -> None:
    """Called by ``llm``."""
    register(TokmemDesk())


class TokmemDesk(llm.KeyModel):  # type: ignore[misc]
    """Answers by the route that a message finds, or by a given one."""

    model_id = "tokmem-desk"
    needs_key = "tokmem"
    key_env_var = "TOKMEM_TOKEN"
    can_stream = True
    supports_schema = True
    supports_tools = True

    class Options(llm.Options):  # type: ignore[misc]
        """What can be given with ``-o``."""

        route: str = Field(default=AUTO_ROUTE, description="auto, none, or a procedure's name")
        profile: str | None = Field(default=None, description="without a token: the profile, else the active one")
        url: str = Field(default=ADDRESS, description="with a token: where serve answers")
        max_tokens: int | None = Field(default=None, ge=1, description="longest answer, in tokens")
        temperature: float | None = Field(default=None, ge=0, le=2, description="plain chat: 0 takes the likeliest")
        seed: int | None = Field(default=None, description="the same answer every time")

    def get_key(self, explicit_key: str | None = None) -> str | None:
        """The token, or None: then no server is asked."""
        try:
            key: str | None = super().get_key(explicit_key)
        except llm.NeedsKeyException:
            return None
        return key

    def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Any = None, key: str | None = None
    ) -> Iterator[Any]:
        """Yield the pieces of an answer.

        Raises:
            llm.ModelError: what went wrong, and what to do.
        """
        if key:
            yield from _from_serve(prompt, stream, response, conversation, key)
            return
        try:
            yield from _directly(prompt, response, conversation)
        except TokmemError as error:
            raise llm.ModelError(str(error)) from error


def _from_serve(prompt: Any, stream: bool, response: Any, conversation: Any, key: str) -> Iterator[Any]:
    """Ask ``serve`` as ``llm`` asks OpenAI."""
    import openai
    from llm.default_plugins.openai_models import Chat

    options = prompt.options

    class Served(Chat):  # type: ignore[misc]
        def build_kwargs(self, prompt: Any, stream: bool) -> dict[str, Any]:
            fields = super().build_kwargs(prompt, stream)
            return {name: value for name, value in fields.items() if name not in _OWN_OPTIONS}

    served = Served("tokmem-desk", model_name=options.route, api_base=options.url, supports_schema=True)
    try:
        yield from served.execute(prompt, stream, response, conversation, key)
    except openai.APIConnectionError as error:
        raise llm.ModelError(
            f"Nobody answers at {options.url}. Start it: tokmem-desk serve; or ask without a token, "
            "and a model of its own is started: take the key tokmem out of the file that 'llm keys path' names."
        ) from error
    except openai.APIStatusError as error:
        body = error.body
        raise llm.ModelError(str(body.get("message", error)) if isinstance(body, dict) else str(error)) from error


def _directly(prompt: Any, response: Any, conversation: Any) -> Iterator[str]:
    """Ask an engine of this process."""
    from tui.chat.session import system_turns
    from tui.cli.ask import check_route
    from tui.cli.plan_answers import plan_answering

    options = prompt.options
    if prompt.tools or prompt.attachments:
        raise UsageError(
            "Without a server there are no tools and no attachments.",
            next_step="tokmem-desk serve; llm keys set tokmem",
        )
    context = _context(options.profile or "")
    check_route(context, options.route)
    context.engine.load(fit=False)
    turns = system_turns(prompt.system or context.store.chats.system_prompt)
    for before in conversation.responses if conversation is not None else ():
        turns += [
            {"role": "user", "content": before.prompt.prompt or ""},
            {"role": "assistant", "content": before.text()},
        ]
    answering = plan_answering(context, runs_commands=False)
    asked = answering.asked(
        prompt.prompt or "",
        options.route,
        conversation=turns,
        sample=bool(options.temperature),
        seed=options.seed,
        max_tokens=options.max_tokens,
        **({"asked": {"schema": prompt.schema}} if prompt.schema else {}),
    )
    for event in context.engine.drive(asked, answering.cancel):
        if event["event"] == "token":
            yield event["text"]
        elif event["event"] == "done":
            result = event["result"]
            response.response_json = {name: result[name] for name in ("route", "probability", "candidates")}


def _context(profile: str) -> Context:
    if profile not in _contexts:
        from tui.cli.arguments import parse
        from tui.cli.console import Console
        from tui.cli.context import Context

        options = parse(["--quiet", *(["--profile", profile] if profile else []), "ask", "-"])
        context = Context(options, Console(quiet=True))
        atexit.register(context.__exit__, None, None, None)
        _contexts[profile] = context
    return _contexts[profile]
