"""The pages of stocks and processes, for staff: include them where you like."""

from django.urls import path

from stockflow.projections import views

app_name = "stockflow"
urlpatterns = [
    path("", views.index, name="index"),
    path("process/<slug:slug>/", views.process, name="process"),
    path("stock/<slug:slug>/", views.members, name="members"),
]
