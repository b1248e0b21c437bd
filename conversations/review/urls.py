"""The URLs of the pages for reporters."""

from django.urls import path

from conversations.review import views

urlpatterns = [
    path("report/", views.report_application, name="report_application"),
    path("report/<uuid:public_id>/", views.report_answer, name="report_answer"),
    path("reports/", views.my_reports, name="reports"),
    path("reports/<uuid:public_id>/", views.my_report, name="report"),
    path("reports/<uuid:public_id>/appeal/", views.appeal, name="report_appeal"),
    path("reports/<uuid:public_id>/answer/", views.reply, name="report_reply"),
]
