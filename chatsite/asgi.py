"""The ASGI application: pages over HTTP and the chat over a websocket."""

import os
from typing import Any
from urllib.parse import urlsplit

import django
from asgiref.sync import sync_to_async

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
django.setup(set_prefix=False)

# These imports read the settings and the models, so they must follow the set-up above.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.http import HttpRequest, parse_cookie  # noqa: E402
from django.http.response import HttpResponseBase  # noqa: E402
from django.urls import re_path  # noqa: E402

from conversations.chat.routing import websocket_urlpatterns  # noqa: E402


class OneThreadHandler(ASGIHandler):
    """Run the middleware and the view of a request in one thread, from start to end.

    Django's handler is for async views, of which the site has none: it would return to the event loop before each view, and
    each change of thread waits for the interpreter lock while other threads compute.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        respond = sync_to_async(self.get_response, thread_sensitive=True)
        response: HttpResponseBase = await respond(request)
        return response


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a websocket before it opens. Daphne responds with 403."""
    await send({"type": "websocket.close"})


class SameHost:
    """Refuse a websocket if its page has a different host or port.

    Channels' validator only compares the name with ALLOWED_HOSTS, so it would accept a page on another port of this machine.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
        host = headers.get(b"host", b"").decode("latin-1")
        if not origin.netloc or origin.netloc.lower() != host.lower():
            return await refuse(scope, receive, send)
        return await self.application(scope, receive, send)


class DropNullCookies:
    """Drop cookies that contain a null character, which a quoted value can hold and databases reject in text."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = [
            (name, self._clean(value) if name == b"cookie" else value) for name, value in scope["headers"]
        ]
        return await self.application({**scope, "headers": headers}, receive, send)

    def _clean(self, cookies: bytes) -> bytes:
        return b";".join(
            cookie
            for cookie in cookies.split(b";")
            if not any("\0" in value for value in parse_cookie(cookie.decode("latin-1")).values())
        )


# Channels routes to ASGI applications, but Django's type stubs expect views.
_elsewhere = re_path("", refuse)  # type: ignore[arg-type]
_sockets = URLRouter([*websocket_urlpatterns, _elsewhere])
application = DropNullCookies(
    ProtocolTypeRouter(
        {
            "http": OneThreadHandler(),
            "websocket": AllowedHostsOriginValidator(SameHost(CookieMiddleware(_sockets))),
        }
    )
)
