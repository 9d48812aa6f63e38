"""The URLs of the tests."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from example.coaching.admin import site

site.register_declared()

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("example-admin/", site.urls),
    path("coaching/", include("example.coaching.urls")),
    path("stocks/", include("stockflow.projections.urls")),
]
