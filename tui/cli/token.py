"""``token``: make, list and forget the tokens of ``serve``."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict

from profiles.encryption.file_encryption import ProfileKey
from profiles.registry.registry import ProfileRegistry
from profiles.store.scopes import ASK, SCOPES
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser


def arguments(parser: Parser) -> None:
    """What can be typed behind ``token``."""
    actions = parser.actions()
    creating = actions.add("create", create, "make a token for a profile; it is shown once")
    creating.add_argument("name", metavar="NAME", help="what for, such as 'editor'")
    creating.add_argument(
        "--scope",
        choices=SCOPES,
        default=ASK,
        help="what its holder may do: read (see what there is), ask (the default), or teach (add pairs and verdicts)",
    )
    actions.add("list", list_all, "tokens: name, profile, last use (those of a locked profile: with its passphrase)")
    removing = actions.add("remove", remove, "forget a token; who uses it is refused")
    removing.add_argument("name", metavar="NAME")


def create(context: Context, options: argparse.Namespace) -> int:
    """Make a token for the profile in use and print it, this once."""
    profile, key = context.profile.name, context.key
    with ProfileRegistry(context.paths) as registry:
        token = registry.tokens.create(options.name, profile, key=key, scope=options.scope)
    context.console.say(f"A token for the profile {profile}, shown this once:")
    facts = {"name": options.name, "profile": profile, "scope": options.scope, "token": token}
    context.console.result(facts, token)
    return ExitCode.OK


def list_all(context: Context, options: argparse.Namespace) -> int:
    """List the tokens of all profiles that can be looked into; the tokens themselves are kept nowhere."""
    keys = _keys(context)
    with ProfileRegistry(context.paths) as registry:
        found = registry.tokens.list(keys)
        unseen = registry.tokens.unseen(keys)
    for name in unseen:
        context.console.say(
            f"Tokens of {name}, which is locked, are not shown: tokmem-desk token list --profile {shlex.quote(name)}"
        )
    if not found and not context.console.json_output:
        if not unseen:
            context.console.say("There are no tokens yet. Make one: tokmem-desk token create NAME")
        return ExitCode.OK
    rows = [(one.name, one.profile, one.scope, _minute(one.created), _minute(one.last_used)) for one in found]
    text = table(("name", "profile", "may", "made (UTC)", "last used (UTC)"), rows)
    context.console.result({"tokens": [asdict(one) for one in found]}, text)
    return ExitCode.OK


def remove(context: Context, options: argparse.Namespace) -> int:
    """Forget a token."""
    keys = _keys(context)
    with ProfileRegistry(context.paths) as registry:
        registry.tokens.remove(options.name, keys)
    return changed(context, "token remove", [options.name], f"The token {options.name} opens nothing any more.")


def _keys(context: Context) -> dict[str, ProfileKey]:
    """The key of the profile in use, where it is locked; its passphrase is asked for."""
    return {} if context.key is None else {context.profile.name: context.key}


def _minute(moment: str | None) -> str | None:
    return None if moment is None else moment[:16].replace("T", " ")
