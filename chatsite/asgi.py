"""The ASGI application: pages over HTTP, the chat over a websocket."""

import os
from typing import Any
from urllib.parse import urlsplit

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
_http = get_asgi_application()

# These read the settings and the models, so they come after the set-up above.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402

from conversations.routing import websocket_urlpatterns  # noqa: E402


class SameHost:
    """Refuse a socket whose page came from another host or port than it talks to.

    Channels' validator compares the name with ALLOWED_HOSTS only; a page of another port on this machine would pass.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
        host = headers.get(b"host", b"").decode("latin-1")
        if not origin.netloc or origin.netloc.lower() != host.lower():
            await send({"type": "websocket.close", "code": 4403})
            return None
        return await self.application(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": AllowedHostsOriginValidator(
            SameHost(CookieMiddleware(URLRouter(websocket_urlpatterns)))
        ),
    }
)
