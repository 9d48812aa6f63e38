"""The coach's pages: how the coaching goes, and those who are to be called, one after another."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import DetailView, TemplateView

from example.coaching.models import Profile
from example.coaching.stocks import coaching
from stockflow.projections.sequences import SequenceMixin, StockSequencerView


class CoachingPage(LoginRequiredMixin, TemplateView):
    """The process, by a tag of the template; who may not view profiles sees none of it."""

    template_name = "coaching/coaching.html"


class ProfileWalk(StockSequencerView):
    """Leads from one to the next, whoever has waited longest first."""

    process = coaching
    ordering = ("consistency_since",)
    pattern_name = "coaching:profile"


class ProfilePage(SequenceMixin, DetailView):  # type: ignore[type-arg]  # no class to subscript at run time
    """One of them."""

    model = Profile
    process = coaching
    ordering = ProfileWalk.ordering
    walk_name = "coaching:walk"
    template_name = "coaching/profile.html"
