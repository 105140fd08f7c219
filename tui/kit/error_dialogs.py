"""Shows a TokmemError in a dialog instead of letting it end the app."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tokmem_desk.errors import TokmemError
from tui.kit.services import services

Handler = TypeVar("Handler", bound=Callable[..., Any])


def shows_errors(method: Handler) -> Handler:
    """Decorate an action or a handler of a screen or widget: a TokmemError becomes a dialog.

    Textual ends the app on any exception of a handler, and a busy disk is no reason to end it.
    """
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def guarded_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await method(self, *args, **kwargs)
            except TokmemError as caught:
                services(self).show_error(caught)

        return cast(Handler, guarded_async)

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except TokmemError as caught:
            services(self).show_error(caught)

    return cast(Handler, guarded)
