"""The URLs of the chat."""

from django.urls import path

from conversations.chat import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("c/<uuid:public_id>/", views.chat, name="conversation"),
    path("c/<uuid:public_id>/rename/", views.rename, name="conversation_rename"),
    path("c/<uuid:public_id>/export/", views.export, name="conversation_export"),
    path("c/<uuid:public_id>/delete/", views.delete, name="conversation_delete"),
    path("send/", views.send, name="send"),
    path("stop/", views.stop, name="stop"),
    path("continue/", views.continue_, name="continue"),
    path("feedback/<uuid:public_id>/", views.feedback, name="feedback"),
]
