"""The list of commands. Each is declared in its own module, which is imported when somebody types the command.

A module of the list has ``run(context, options)``, which does the command and returns its exit code, and
``arguments(parser)``, which adds what can be typed behind it. A module whose ``arguments`` makes actions
(``parser.actions()``) names a function for each of them and has no ``run``. Without arguments of its own, a command
needs no ``arguments``.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: what is typed.
        module: in ``tui.cli``; declares the arguments and does the command.
        help: one line, as ``tokmem-desk --help`` shows it.
    """

    name: str
    module: str
    help: str


COMMANDS = (
    Command("demo", "demo", "define, train, measure and ask sample procedures; fetches the model unasked"),
    Command("proc", "proc", "procedures: add, list, show, change, remove"),
    Command("plan", "plan", "plans: steps over procedures, with conditions; what their runs did"),
    Command("train", "train", "train the named procedures, or all new or changed ones"),
    Command("adapt", "adapt", "adapt a model to chains of memories, beside its weights; the default model brings that"),
    Command("ask", "ask", "one message, one answer by the right procedure or by none"),
    Command("quick", "quick", "one line, one answer, copied to the clipboard: for a hotkey"),
    Command("watch", "watch", "answer the text files of a folder, those there and those that come"),
    Command("route", "route", "which procedure would answer, without answering"),
    Command("eval", "evaluate", "measure trained procedures on held-out pairs"),
    Command("chat", "chat", "talk; '@name' before a message chooses the procedure"),
    Command("chats", "chats", "conversations: list, search, export, delete"),
    Command("bank", "bank", "bank files: export memories, look at them, import them"),
    Command("profile", "profile", "profiles: private procedures and chats of one person each"),
    Command("model", "model", "backbones: list, fetch, choose, prepare, remove"),
    Command("config", "config", "settings and where everything is"),
    Command(
        "serve", "serve", "answer other programs of this computer: OpenAI's chat completions on 127.0.0.1, with a token"
    ),
    Command("mcp", "mcp", "answer one editor or agent over stdin and stdout, by the Model Context Protocol"),
    Command("web", "web", "the app in a browser of this computer; prints a link"),
    Command("token", "token", "tokens of 'serve': each opens one profile"),
    Command("completion", "completion", "print what makes a shell complete commands and names"),
    Command("doctor", "doctor", "check this installation and say what the model runs on"),
)
"""In the order in which ``--help`` shows them."""
