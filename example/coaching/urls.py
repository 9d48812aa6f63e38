"""The addresses of the coach's pages."""

from django.urls import path

from example.coaching.views import CoachingPage, ProfilePage, ProfileWalk

app_name = "coaching"
urlpatterns = [
    path("", CoachingPage.as_view(), name="coaching"),
    path("walk/", ProfileWalk.as_view(), name="walk"),
    path("profile/<int:pk>/", ProfilePage.as_view(), name="profile"),
]
