"""URL patterns for machines."""

from django.urls import path

from conversations.server import views

urlpatterns = [
    path("robots.txt", views.robots, name="robots"),
    path("healthz", views.healthz, name="healthz"),
]
