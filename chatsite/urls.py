"""URL patterns of the site."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

from conversations.accounts import admin as accounts_admin

admin.autodiscover()
accounts_admin.customise_admin(admin.site)
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("conversations.chat.urls")),
    path("", include("conversations.review.urls")),
    path("", include("conversations.access.urls")),
    path("", include("conversations.branding.urls")),
    path("", include("conversations.accounts.urls")),
    path("", include("conversations.server.urls")),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("admin/", admin.site.urls),
]

handler400 = "chatsite.error_pages.bad_request"
handler500 = "chatsite.error_pages.server_error"
