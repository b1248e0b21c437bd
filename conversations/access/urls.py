"""URLs for invitations, previews and the terms of use."""

from django.urls import path

from conversations.access import views

urlpatterns = [
    path("join/", views.join, name="join"),
    path("join/<str:code>/", views.join_by_link, name="join_by_link"),
    path("preview/<uuid:public_id>/", views.preview, name="preview"),
    path("terms/", views.accept_terms, name="accept_terms"),
]
