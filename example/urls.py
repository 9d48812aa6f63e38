"""The pages of the example: the admins, the stocks and processes, and a coach's."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from example.coaching.admin import site

site.register_declared()

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="stockflow:index")),
    path("admin/", admin.site.urls),
    path("stock-admin/", site.urls),
    path("coaching/", include("example.coaching.urls")),
    path("stocks/", include("stockflow.projections.urls")),
]
