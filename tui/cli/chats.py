"""``chats``: the conversations of a profile, outside the app."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from profiles.files.atomic import write_text
from profiles.pair_files.chat_exports import ExportedTalk
from profiles.pair_files.export_file import read_export
from profiles.store.chat_export import as_document, export_text, format_of
from profiles.store.store import ProfileStore
from tokmem_desk.errors import ConflictError, NotFoundError, TokmemError, UsageError
from tokmem_desk.procedures import NONE_ROUTE
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, positive_number

LAST = "last"
_ALL = 2**31
"""More conversations than anybody has."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``chats``."""
    actions = parser.actions()
    listing = actions.add("list", list_all, "the conversations used last, newest first")
    listing.add_argument("--search", metavar="WORDS", help="only those where a message holds all words")
    listing.add_argument("--limit", metavar="N", type=positive_number, default=50, help="at most so many (default: 50)")
    exporting = actions.add("export", export, "write a conversation as Markdown or JSON")
    exporting.add_argument("id", metavar="ID", help="its number, or 'last'")
    exporting.add_argument("file", metavar="FILE", nargs="?", help="ends in .md or .json; without it: stdout")
    exporting.add_argument("--format", choices=("md", "json"), help="whatever the file is called")
    importing = actions.add(
        "import", import_export, "take over conversations of ChatGPT, Claude, Open WebUI, LM Studio, oterm or llm"
    )
    importing.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="conversations.json of an export, unpacked; *.conversation.json; store.db; logs.db",
    )
    deleting = actions.add("delete", delete, "delete a conversation for good")
    deleting.add_argument("id", metavar="ID", help="its number, or 'last'")


def list_all(context: Context, options: argparse.Namespace) -> int:
    """The conversations used last, or those that a search finds."""
    found = context.store.chats.list(limit=options.limit, search=options.search)
    rows = [(one.id, one.updated[:16].replace("T", " "), one.message_count, one.title) for one in found]
    if not found:
        context.console.say("Nothing found." if options.search else "There is no conversation yet.")
    text = table(("id", "used", "messages", "title"), rows, right=(0, 2)) if found else ""
    context.console.result({"conversations": [asdict(one) for one in found]}, text)
    return ExitCode.OK


def export(context: Context, options: argparse.Namespace) -> int:
    """Write one conversation to a file or to stdout.

    Raises:
        ConflictError: the file is there already.
        NotFoundError: there is no such conversation.
    """
    key = conversation_id(context.store, options.id)
    conversation, messages = context.store.chats.get(key), context.store.messages.list(key)
    if options.file in (None, "-"):
        if context.console.json_output:
            context.console.json(as_document(conversation, messages))
        else:
            context.console.data(export_text(conversation, messages, options.format or "md"), end="")
        return ExitCode.OK
    path = Path(options.file)
    text = export_text(conversation, messages, options.format or format_of(path.name))
    if path.exists() and not options.yes:
        question = f"{path} is there already. Replace it?"
        if not (context.console.can_ask and context.console.ask(question)):
            raise ConflictError(f"{path} is there already.", next_step="Choose another name, or add --yes.")
    write_text(path, text)
    return changed(context, "chats export", [conversation.title], f"Wrote {path}.", file=str(path))


def import_export(context: Context, options: argparse.Namespace) -> int:
    """Take over the conversations of an export; those that are here already are passed over.

    Raises:
        BadInputError: the file is no such export.
        NotFoundError: there is no such file.
    """
    found = read_export(options.file)
    store = context.store
    present: dict[tuple[str, int], list[int]] = {}
    for one in store.chats.list(limit=_ALL):
        present.setdefault((one.title, one.message_count), []).append(one.id)
    titles, repeated, empty = [], 0, 0
    for talk in reversed(found):  # an export begins with the newest, and the last one added is the newest here
        if not talk.messages:
            empty += 1
        elif any(_same(store, key, talk) for key in present.get((talk.title, len(talk.messages)), ())):
            repeated += 1
        else:
            key = store.chats.create(talk.title)
            for role, text in talk.messages:
                store.messages.add(key, role, text, route=NONE_ROUTE if role == "assistant" else None)
            titles.append(talk.title)
    for count, single, several in (
        (repeated, "1 conversation was here already.", "{:,} conversations were here already."),
        (empty, "1 conversation has no message with an answer.", "{:,} conversations have no message with an answer."),
        (
            sum(talk.left_out for talk in found),
            "1 message is no text (an image, thoughts, a tool's) and was left out.",
            "{:,} messages are no text (images, thoughts, tools') and were left out.",
        ),
    ):
        if count:
            context.console.say(single if count == 1 else several.format(count))
    return changed(context, "chats import", titles, f"Took over {len(titles):,} of {len(found):,} conversations.")


def _same(store: ProfileStore, key: int, talk: ExportedTalk) -> bool:
    return [(one.role, one.content) for one in store.messages.list(key)] == list(talk.messages)


def delete(context: Context, options: argparse.Namespace) -> int:
    """Delete one conversation for good, after asking.

    Raises:
        TokmemError: nobody agreed.
        NotFoundError: there is no such conversation.
    """
    key = conversation_id(context.store, options.id)
    title = context.store.chats.get(key).title
    if not options.yes:
        question = f"Delete {title!r} with all its messages, for good?"
        if not (context.console.can_ask and context.console.ask(question)):
            raise TokmemError("Nothing was deleted.", next_step="Add --yes to delete without a question.")
    left = context.store.chats.delete(key)
    return changed(context, "chats delete", [title], " ".join(filter(None, (f"Deleted {title!r}.", left))))


def conversation_id(store: ProfileStore, wanted: str) -> int:
    """The id that was typed, or that of the conversation used last.

    Raises:
        NotFoundError: there is none.
        UsageError: it is no number.
    """
    if wanted == LAST:
        newest = store.chats.list(limit=1)
        if not newest:
            raise NotFoundError("There is no conversation yet.", next_step="Begin one: tokmem-desk chat")
        return newest[0].id
    if not wanted.isdecimal():
        raise UsageError(f"{wanted!r} is not the number of a conversation.", next_step="See: tokmem-desk chats list")
    return int(wanted)
