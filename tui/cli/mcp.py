"""``mcp``: the procedures as tools and prompts for an editor or an agent, over stdin and stdout."""

from __future__ import annotations

import argparse
import importlib.util
import os
from contextlib import AbstractContextManager

from profiles.registry.registry import ProfileRegistry
from profiles.store.scopes import ASK, SCOPES, includes
from profiles.store.store import ProfileStore
from tokmem_desk.errors import UsageError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser

TOKEN = "TOKMEM_TOKEN"  # noqa: S105 - the name of a variable


def arguments(parser: Parser) -> None:
    """What can be typed behind ``mcp``."""
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        help="what the client may do: read, ask (the default), or teach; "
        f"a token in {TOKEN} says it, and whose profile it is",
    )


def run(context: Context, options: argparse.Namespace) -> int:
    """Load the model and answer one client; stdout belongs to the protocol."""
    if importlib.util.find_spec("mcp") is None:
        raise UsageError(
            "The Model Context Protocol needs a package that is not installed.",
            next_step="Install it: uv tool install 'tokmem-desk[mcp]', or pip install mcp.",
        )
    from tui.serve.mcp_server import McpServer, serve_stdio

    backbone = context.engine.load()
    link = context.engine.link
    link.may_fetch = False  # a client cannot agree to a download
    profile, key, scope = context.profile.name, context.key, options.scope or ASK
    if token := os.environ.get(TOKEN):
        with ProfileRegistry(context.paths) as registry:
            grant = registry.tokens.grant_of(token, {} if key is None else {profile: key})
        if grant is None:
            raise UsageError(f"The token in {TOKEN} opens nothing here.", next_step="See: tokmem-desk token list")
        if options.scope is not None and not includes(grant.scope, options.scope):
            raise UsageError(f"The token in {TOKEN} may {grant.scope}, not {options.scope}.")
        key = key if grant.profile == profile else None
        profile, scope = grant.profile, options.scope or grant.scope

    def open_store() -> AbstractContextManager[ProfileStore]:
        with ProfileRegistry(context.paths) as registry:
            return registry.open(profile, key=key)

    context.console.say(f"{backbone['id']} answers for the profile {profile} on stdin and stdout (Ctrl-C ends).")
    context.engine.run(serve_stdio(McpServer(link, profile, backbone["fingerprint"], open_store, scope)))
    return ExitCode.OK
