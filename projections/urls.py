"""The pages of stocks and processes, for staff: include them where you like."""

from django.urls import path

from stockflow.projections import views
from stockflow.projections.feed_views import line_chart
from stockflow.projections.member_views import MemberView, WalkView

app_name = "stockflow"
urlpatterns = [
    path("", views.index, name="index"),
    path("process/<slug:slug>/", views.process, name="process"),
    path("stock/<slug:slug>/", views.members, name="members"),
    path("stock/<slug:slug>/feed/", line_chart, name="feed"),
    path("stock/<slug:slug>/walk/", views.page(WalkView.as_view()), name="walk"),
    path("stock/<slug:slug>/members/<path:key>/", views.page(MemberView.as_view()), name="member"),
]
