"""The pages of the example: the admin, and the stocks and processes."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="stockflow:index")),
    path("admin/", admin.site.urls),
    path("stocks/", include("stockflow.projections.urls")),
]
