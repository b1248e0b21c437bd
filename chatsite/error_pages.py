"""Error pages that may be caused by a database outage. They use neither the database nor the session."""

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template import loader
from django.utils.cache import add_never_cache_headers
from django.views import defaults

from conversations.common.outages import is_database_outage

RETRY_SECONDS = 10
FORMS_SENT_AGAIN = frozenset(f"conversations.{subject}.views" for subject in ("access", "chat", "review"))
"""The views whose forms the page offers to send again."""
CSRF_FIELD = "csrfmiddlewaretoken"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a bad request, which Django also raises if a session could not be saved."""
    if is_database_outage(exception):
        return unavailable(request)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond to a failed request, and say so if a database outage is the reason."""
    error = sys.exc_info()[1]
    if error is not None and is_database_outage(error):
        return unavailable(request)
    return defaults.server_error(request)


def unavailable(request: HttpRequest) -> HttpResponse:
    """Return the outage page, from which a chat form can be sent again."""
    is_fragment = "HX-Request" in request.headers
    template = loader.get_template("_unavailable.html" if is_fragment else "503.html")
    context: dict[str, Any] = {
        "path": request.get_full_path(),
        "is_form": request.method == "POST",
        "fields": _fields_to_send_again(request),
        # Called only if the page has a form, because it sets a cookie.
        "csrf_token": lambda: get_token(request),
    }
    response = HttpResponse(template.render(context), status=503, headers={"Retry-After": str(RETRY_SECONDS)})
    add_never_cache_headers(response)
    return response


def _fields_to_send_again(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the fields of a chat form. Account forms contain passwords and codes, which no page may repeat.

    Once the view is known, the form has been parsed and has passed the CSRF check.
    """
    match = request.resolver_match
    if request.method != "POST" or match is None or match.func.__module__ not in FORMS_SENT_AGAIN:
        return []
    return [(name, value) for name, values in request.POST.lists() for value in values if name != CSRF_FIELD]
