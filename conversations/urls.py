"""The addresses of the chat."""

from django.urls import path

from .views import access, chat, reports

urlpatterns = [
    path("", chat.chat, name="chat"),
    path("c/<uuid:public_id>/", chat.chat, name="conversation"),
    path("c/<uuid:public_id>/rename/", chat.rename, name="conversation_rename"),
    path("c/<uuid:public_id>/export/", chat.export, name="conversation_export"),
    path("c/<uuid:public_id>/delete/", chat.delete, name="conversation_delete"),
    path("send/", chat.send, name="send"),
    path("stop/", chat.stop, name="stop"),
    path("continue/", chat.continue_, name="continue"),
    path("report/", reports.report_application, name="report_application"),
    path("report/<uuid:public_id>/", reports.report_answer, name="report_answer"),
    path("reports/", reports.my_reports, name="reports"),
    path("reports/<uuid:public_id>/", reports.my_report, name="report"),
    path("reports/<uuid:public_id>/appeal/", reports.appeal, name="report_appeal"),
    path("reports/<uuid:public_id>/answer/", reports.reply, name="report_reply"),
    path("feedback/<uuid:public_id>/", reports.feedback, name="feedback"),
    path("notices/<uuid:public_id>/acknowledge/", reports.acknowledge, name="notice_acknowledge"),
    path("join/", access.join, name="join"),
    path("join/<str:code>/", access.join_by_link, name="join_by_link"),
    path("preview/<uuid:public_id>/", access.preview, name="preview"),
    path("notice/", access.accept_notice, name="notice_accept"),
    path("robots.txt", chat.robots, name="robots"),
    path("healthz", chat.healthz, name="healthz"),
]
