"""Making transitions in the admin: buttons, forms for arguments, and actions for many objects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import django_fsm
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME, AdminForm
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from stockflow.bulk.commands import Command, command
from stockflow.bulk.outcomes import Outcome
from stockflow.contexts import context
from stockflow.errors import ConcurrentTransition
from stockflow.machines import offered_names
from stockflow.managers import StockflowQuerySet
from stockflow.moments import moment
from stockflow.settling import settle
from stockflow.subjects import stock_fields
from stockflow.transition_forms import TransitionForm, form_of

_ACTION = "stockflow_"
_CONFIRMED = "stockflow_confirmed"
_NONE = "none changed, since what was selected is not in this list any more"


@dataclass(frozen=True)
class Button:
    """A transition that may be made now.

    Attributes:
        label: What it says.
        url: Where it leads.
        asks: Whether there is a form to fill in first.
    """

    label: str
    url: str
    asks: bool


class TransitionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no class to subscript at run time
    """The part of ``StockflowAdmin`` that makes transitions.

    A transition is offered to who may change the object and has the transition's permission,
    while its conditions are true; all of that is asked again when it is made.

    Attributes:
        transitions: The names of those to offer; None for all that are no decays.
        transition_forms: Forms for the arguments, by name, where the signature is not enough.
    """

    transitions: Sequence[str] | None = None
    transition_forms: Mapping[str, type[forms.Form]] = {}

    def get_urls(self) -> list[URLPattern]:
        page = path(
            "<path:object_id>/transition/<str:name>/",
            self.admin_site.admin_view(self.stock_transition_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_stock_transition",
        )
        return [page, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        shown = kwargs.get("obj")
        if shown is not None:  # loaded anew, since a refused form leaves its values on the instance
            obj = self.get_object(request, str(shown.pk))
            context["stock_buttons"] = [] if obj is None else [*self._buttons(request, obj)]
        return super().render_change_form(request, context, *args, **kwargs)

    def has_transition_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may make transitions at all: who may change the object."""
        return self.has_change_permission(request, obj)

    def stock_transition_view(
        self, request: HttpRequest, object_id: str, name: str
    ) -> HttpResponse:
        """Ask for a transition's arguments and make it, or say why it cannot be made."""
        obj = self.get_object(request, unquote(object_id))
        if not self.has_transition_permission(request, obj):
            raise PermissionDenied
        if obj is None or name not in self._offered():
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r} with {name!r}.")
        asked = self._command(request, name)
        form = self._form(name)(request.POST if request.method == "POST" else None)
        if request.method == "POST":
            settle(obj, moment(obj)[0])  # what fell due before decides what may be made now
        if (why := _refusal(asked, obj)) is not None:
            self.message_user(request, f"{obj}: {why}", messages.ERROR)
            return HttpResponseRedirect(self._page_of(obj))
        if form.is_valid() and self._is_made(request, obj, name, form):
            return HttpResponseRedirect(self._page_of(obj))
        told = {"title": f"{_label(asked)}: {obj}", "object": obj, "submit": _label(asked)}
        return self._ask(request, form, told)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        # Of Django 6.1, where an action may also stand on the form of one object.
        located = {} if action_location is None else {"action_location": action_location}
        base: Any = super()
        actions: dict[str, Any] = base.get_actions(request, **located)
        is_off = self.actions is None or IS_POPUP_VAR in request.GET
        if is_off or not self.has_transition_permission(request):
            return actions
        for name in self._offered():
            asked = self._command(request, name)
            if _may_ever(asked):
                found = base.get_action(self._action(asked), **located)
                actions |= {_ACTION + name: found} if found else {}
        return actions

    def _action(self, asked: Command) -> Callable[..., HttpResponse | None]:
        def act(
            model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]
        ) -> HttpResponse | None:
            return self._act(request, queryset, asked.name)

        act.__name__ = _ACTION + asked.name
        description = f"{_label(asked)} selected {self.model._meta.verbose_name_plural}"
        act.short_description = description.replace("%", "%%")  # type: ignore[attr-defined]  # Django fills it in
        return act

    def _act(self, request: HttpRequest, queryset: QuerySet[Any], name: str) -> HttpResponse | None:
        form = self._form(name)(request.POST if _CONFIRMED in request.POST else None)
        if not form.asks():
            form = self._form(name)({})
        if form.is_valid() and self._are_made(request, queryset, name, form):
            return None
        asked = self._command(request, name)
        told = {
            "title": f"{_label(asked)} selected {self.model._meta.verbose_name_plural}",
            "submit": _label(asked),
            "action": _ACTION + name,
            "confirmed": _CONFIRMED,
            "checkbox": ACTION_CHECKBOX_NAME,
            "keys": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "across": request.POST.get("select_across", "0"),
            "number": queryset.count(),
            "rows": self.model._meta,
        }
        return self._ask(request, form, told)

    def _is_made(self, request: HttpRequest, obj: Any, name: str, form: TransitionForm) -> bool:
        """Make the transition; False with the error on *form* if its method finds the values bad."""
        try:
            with context(actor=actor_of(request), reason=form.reason), transaction.atomic():
                getattr(obj, name)(**form.arguments())
                obj.save()
                label = _label(self._command(request, name))
                self.log_change(request, obj, f"{label}. {form.reason}".strip())
        except ValidationError as error:
            form.add_error(None, error.messages)
            return False
        except (django_fsm.TransitionNotAllowed, ConcurrentTransition) as error:
            self.message_user(request, f"{obj} was not changed. {error}", messages.ERROR)
            return True
        self.message_user(request, f"{obj}: {label.lower()} is done.", messages.SUCCESS)
        return True

    def _are_made(
        self, request: HttpRequest, queryset: QuerySet[Any], name: str, form: TransitionForm
    ) -> bool:
        rows: Any = StockflowQuerySet(self.model, using=queryset.db)
        rows = rows.filter(pk__in=self._changeable(request, queryset))
        denied = queryset.count() - rows.count()
        try:
            with context(actor=actor_of(request), reason=form.reason):
                outcome = rows.transition(name, user=request.user, **form.arguments())
        except ValidationError as error:
            form.add_error(None, error.messages)
            return False
        outcome += Outcome(denied=denied)
        level = messages.SUCCESS if outcome.moved == outcome.total else messages.WARNING
        label = _label(self._command(request, name))
        self.message_user(request, f"{label}: {_told(outcome)}.", level)
        return True

    def _changeable(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Return the keys that the admin lets be changed, asked one by one where it has its own rule."""
        plain = (admin.ModelAdmin.has_change_permission, TransitionAdmin.has_transition_permission)
        if (type(self).has_change_permission, type(self).has_transition_permission) == plain:
            return queryset.order_by().values("pk")
        may = self.has_transition_permission
        return [obj.pk for obj in queryset.iterator() if may(request, obj)]

    def _buttons(self, request: HttpRequest, obj: Any) -> Iterator[Button]:
        if not self.has_transition_permission(request, obj):
            return
        for name in self._offered():
            asked = self._command(request, name)
            state = getattr(obj, asked.field.name)
            if asked.meta.has_transition(state) and _is_open(asked, obj, state):
                url = self._address("stock_transition", quote(obj.pk), name)
                yield Button(_label(asked), url, self._form(name).asks())

    def _ask(
        self, request: HttpRequest, form: TransitionForm, told: dict[str, Any]
    ) -> TemplateResponse:
        shown = AdminForm(form, [(None, {"fields": [*form.fields]})], {})  # type: ignore[arg-type]
        request.current_app = self.admin_site.name
        given = {**self.admin_site.each_context(request), "opts": self.opts, "form": form, **told}
        given |= {"adminform": shown, "media": self.media + form.media}
        return TemplateResponse(request, "stockflow/admin/transition.html", given)

    def _offered(self) -> list[str]:
        if self.transitions is not None:
            return [*self.transitions]
        fields = stock_fields(self.model)
        return [name for field in fields for name in offered_names(self.model, field.name)]

    def _command(self, request: HttpRequest, name: str) -> Command:
        return command(self.model, name, request.user, {})

    def _form(self, name: str) -> type[TransitionForm]:
        return form_of(getattr(self.model, name), self.transition_forms.get(name))

    def _page_of(self, obj: Any) -> str:
        return self._address("change", quote(obj.pk))

    def _address(self, page: str, *args: str) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)


def actor_of(request: HttpRequest) -> Model:
    """Return who asks; a page of the admin knows."""
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def _label(asked: Command) -> str:
    labels = (rule.custom["label"] for rule in asked.rules if "label" in (rule.custom or {}))
    return str(next(labels, asked.name.replace("_", " ").capitalize()))


def _is_open(asked: Command, obj: Any, state: str) -> bool:
    permitted = asked.meta.has_transition_perm(obj, state, asked.user)
    return bool(permitted and asked.meta.conditions_met(obj, state))


def _refusal(asked: Command, obj: Any) -> str | None:
    """Return why the transition cannot be made now, None if it can.

    Raises:
        PermissionDenied: If the user lacks its permission.
    """
    state = getattr(obj, asked.field.name)
    if not asked.meta.has_transition(state):
        return f"{_label(asked).lower()} is not possible from {state!r}."
    if not asked.meta.has_transition_perm(obj, state, asked.user):
        raise PermissionDenied
    if not asked.meta.conditions_met(obj, state):
        return f"{_label(asked).lower()} is not possible now: a condition is not met."
    return None


def _may_ever(asked: Command) -> bool:
    """Whether the user may make it on some object; what depends on the object is asked then."""
    return any(
        not isinstance(rule.permission, str) or asked.user.has_perm(rule.permission)
        for rule in asked.rules
    )


def _told(outcome: Outcome) -> str:
    parts = {
        "changed": outcome.moved,
        "not possible from the present state": outcome.not_allowed,
        "with a condition that is not met": outcome.condition_false,
        "not permitted": outcome.denied,
        "changed by somebody else meanwhile": outcome.conflict,
    }
    return ", ".join(f"{number:,} {what}" for what, number in parts.items() if number) or _NONE
