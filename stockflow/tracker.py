"""Tracking models that one cannot change: what their fields say is a state of a companion row."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models, router, transaction
from django.db.models.fields.related import lazy_related_operation
from model_utils.tracker import FieldInstanceTracker, FieldTracker

from stockflow import companions
from stockflow.errors import InvalidDeclaration
from stockflow.fields import StockReference
from stockflow.models import StockflowModel

__all__ = ["Companion", "ModelTracker"]

Values = tuple[Any, ...]
SubStates = Sequence[str | None]


class Companion(StockflowModel):
    """A model whose rows keep the stock membership of another model's objects.

    It names that model by a one-to-one field ``subject``, and has a StockField for each
    sub-state that a :class:`ModelTracker` follows. ::

        class Membership(Companion):
            subject = models.OneToOneField("auth.User", on_delete=models.CASCADE)
            standing = StockField(default="waiting")

            @transition(standing, source=["waiting", "barred"], target="active")
            def admit(self): ...

            @transition(standing, source="*", target="barred")
            def bar(self): ...

    Attributes:
        tracked_values: The subject's tracked fields as they were last seen, as JSON.
    """

    tracked_values = models.TextField(default="", editable=False)

    class Meta:
        abstract = True


class ModelTracker:
    """Watches fields of a model that one cannot change, and moves its companion rows.

    Each save of a subject that wrote one of the fields compares them, in the database and in
    the same transaction, with what the companion saw last. If they differ,
    *states_to_stocks_func* says what that means, and the companion makes the declared
    transition: an event like any other, so that stocks, flows and decay apply. ::

        def sub_states(old, new):
            standing = {None: None, True: "active", False: "barred"}
            return (standing[old[0]],), (standing[new[0]],)

        ModelTracker(["is_active"], sub_states, [Membership.standing])

    What sends no ``save()`` (``update()``, ``bulk_create()``, ``bulk_update()``, fixtures, SQL)
    goes past it; ``manage.py stockflow reconcile`` shows and records that.

    Args:
        fields_to_track: Names of concrete fields of the subject. Of a foreign key the key is seen.
        states_to_stocks_func: Given two tuples of these fields' values, before and now, it
            returns two tuples of sub-states, compared one by one. Before a subject was
            seen, all values are None. A sub-state of None now leaves the companion as it is; a
            different one before makes it move. None before, and the state it is in now, enters
            it anew where a transition leads from the state to itself, as a decay's clock wants.
        sub_states: The stock fields of one :class:`Companion` that the tuples speak of, in order.

    Raises:
        InvalidDeclaration: If these do not fit together.
    """

    def __init__(
        self,
        fields_to_track: Iterable[str],
        states_to_stocks_func: Callable[[Values, Values], tuple[SubStates, SubStates]],
        sub_states: Iterable[StockReference],
    ) -> None:
        self.states_to_stocks_func = states_to_stocks_func
        self.sub_states = tuple(sub_states)
        self.companion: Any = _companion_of(self.sub_states)
        self.fields: tuple[Any, ...] = ()
        self._names = _listed(fields_to_track)
        model = self.companion._meta.get_field("subject").remote_field.model
        lazy_related_operation(self._attach, self.companion, model)

    def _attach(self, companion: type[models.Model], model: Any) -> None:
        self.model: Any = model
        self.fields = tuple(_field_of(model, name) for name in self._names)
        self.attnames = [field.attname for field in self.fields]
        tracker = _Watch(self)
        name = f"stock_tracker_of_{companion._meta.label_lower.replace('.', '_')}"
        tracker.contribute_to_class(model, name)
        tracker.finalize_class(model)
        companions.TRACKERS.append(self)

    def __str__(self) -> str:
        return f"the tracker of {self.model._meta.label}"


def _listed(names: Iterable[str]) -> list[str]:
    if isinstance(names, str) or not (listed := list(names)):
        raise InvalidDeclaration(f"fields_to_track must be a list of field names, not {names!r}.")
    return listed


def _companion_of(references: Sequence[StockReference]) -> Any:
    found = {reference.model for reference in references}
    model = found.pop() if len(found) == 1 else None
    if model is None or not issubclass(model, Companion):
        listed = ", ".join(map(str, references)) or "none"
        raise InvalidDeclaration(
            f"sub_states must be stock fields of one Companion, such as [Membership.standing]: {listed}."
        )
    try:
        subject: Any = model._meta.get_field("subject")  # type: ignore[misc]  # of a child
    except FieldDoesNotExist:
        subject = None
    if not isinstance(subject, models.OneToOneField) or subject.null:
        raise InvalidDeclaration(
            f"{model._meta.label} needs the model that it accompanies: add subject = "
            'models.OneToOneField("auth.User", on_delete=models.CASCADE), not nullable.'
        )
    return model


def _field_of(model: Any, name: str) -> Any:
    known = {field.name: field for field in model._meta.concrete_fields}
    known |= {field.attname: field for field in model._meta.concrete_fields}
    if name not in known:
        raise InvalidDeclaration(
            f"{model._meta.label} has no column {name!r} to track "
            f"(it has: {', '.join(field.name for field in model._meta.concrete_fields)})."
        )
    return known[name]


class _InstanceWatch(FieldInstanceTracker):
    """As its parent, without loading what is deferred only to remember it."""

    def set_saved_fields(self, fields: Iterable[str] | None = None) -> None:
        if fields is not None:
            deferred = self.deferred_fields
            fields = [name for name in fields if name not in deferred]
        super().set_saved_fields(fields)


class _Watch(FieldTracker):
    """Tells what an instance means to change; what was changed the database says.

    A tracker in memory knows nothing of a rollback, another writer or an expression, so it only
    decides whether a save locks the companion at once, or first looks whether it must.
    """

    tracker_class = _InstanceWatch

    def __init__(self, owner: ModelTracker) -> None:
        super().__init__(owner.attnames)
        self.owner = owner

    def finalize_class(self, sender: type[models.Model], **kwargs: object) -> None:
        # The descriptors stay Django's: the parent's load a deferred value when it is assigned.
        self.fields = set(self.fields)
        self.field_map = self.get_field_map(sender)
        self.patch_init(sender)
        self.model_class = sender
        setattr(sender, self.name, self)
        self.patch_save(sender)

    def patch_save(self, model: type[models.Model]) -> None:
        super().patch_save(model)
        model.save_base = self._following(model.save_base)  # type: ignore[method-assign]

    def _patch(self, model: type[models.Model], method: str, fields_kwarg: str) -> None:
        """As its parent does, but for instances from before the tracker, such as pickled ones."""
        plain = getattr(model, method)
        super()._patch(model, method, fields_kwarg)
        tracked = getattr(model, method)

        @wraps(plain)
        def inner(instance: models.Model, *args: Any, **kwargs: Any) -> Any:
            known = self.attname in instance.__dict__
            return (tracked if known else plain)(instance, *args, **kwargs)

        setattr(model, method, inner)

    def _following(self, inner: Callable[..., None]) -> Callable[..., None]:
        @wraps(inner)
        def save_base(
            instance: Any,
            raw: bool = False,
            force_insert: Any = False,
            force_update: bool = False,
            using: str | None = None,
            update_fields: Iterable[str] | None = None,
        ) -> None:
            using = using or router.db_for_write(type(instance), instance=instance)
            told: dict[str, Any] = {"raw": raw, "using": using, "update_fields": update_fields}
            told |= {"force_insert": force_insert, "force_update": force_update}
            if raw or not self._writes(update_fields):
                inner(instance, **told)
                return
            is_meant = self._is_meant(instance)
            with transaction.atomic(using=using):
                inner(instance, **told)
                companions.follow(self.owner, instance.pk, using, is_meant=is_meant)

        return save_base

    def _writes(self, update_fields: Iterable[str] | None) -> bool:
        if update_fields is None:
            return True
        names = {name for field in self.owner.fields for name in (field.name, field.attname)}
        return not names.isdisjoint(update_fields)

    def _is_meant(self, instance: Any) -> bool:
        tracker = instance.__dict__.get(self.attname)
        return tracker is None or bool(instance._state.adding or tracker.changed())
