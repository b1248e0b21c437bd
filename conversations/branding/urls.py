"""URL pattern of the logos."""

from django.urls import path

from . import views

urlpatterns = [path("logo/<str:digest>/", views.logo, name="logo")]
