"""Flow events: the events of a flow as rows of a model of one's own, with a key to the subject."""

from typing import Any, Final, NoReturn
from uuid import UUID

from django.db import models
from django.db.models.expressions import Col
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.lookups import Exact

from stockflow.domain.instants import from_micros
from stockflow.errors import InvalidDeclaration
from stockflow.fields import family
from stockflow.models import StockflowModel
from stockflow.tables import STOCKFLOW, EventColumns

__all__ = ["FlowEvent", "SubjectKey"]


class _Lifecycle(models.Func):
    """An event's originator as the subject's column has it."""

    arity = 1
    output_field = models.UUIDField()
    template = "replace(%(expressions)s, '-', '')"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)::uuid", **context)


class _Subject(ForwardManyToOneDescriptor):  # type: ignore[type-arg]  # no class to subscript at run time
    """The object as it is now; None where it was deleted."""

    def get_object(self, instance: Any) -> Any:
        found = self.get_queryset(instance=instance)
        return found.filter(self.field.get_reverse_related_filter(instance)).first()


class SubjectKey(models.ForeignObject):  # type: ignore[type-arg]  # as above
    """The typed key from an event to its object: no column, no constraint, and nothing cascades.

    ::

        class LeadEvent(FlowEvent):
            subject = SubjectKey(Lead)

        LeadEvent.objects.filter(subject__owner=rep).select_related("subject")

    It is the object's lifecycle, so a key that is used again leads to nobody else; an object that
    was deleted is None.

    Args:
        to: The model of the objects.
    """

    forward_related_accessor_class = _Subject

    def __init__(self, to: Any, **kwargs: Any) -> None:
        kwargs |= {
            "on_delete": models.DO_NOTHING,
            "from_fields": ["originator"],
            "to_fields": ["stock_lifecycle"],
            "related_name": "+",
            "null": True,
            "editable": False,
        }
        super().__init__(to, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {"to": kwargs["to"]}

    def get_joining_fields(self, reverse_join: bool = False) -> tuple[Any, ...]:
        """Return none: the two columns spell a lifecycle each in its own way."""
        return ()

    def get_extra_restriction(self, alias: str, related_alias: str) -> Any:
        """Return the condition of the join."""
        ((originator, lifecycle),) = self.related_fields
        return Exact(Col(alias, lifecycle), _Lifecycle(Col(related_alias, originator)))

    def get_local_related_value(self, instance: Any) -> tuple[Any, ...]:
        """Return the lifecycle that the event has."""
        return (UUID(instance.originator),)

    def get_path_info(self, filtered_relation: Any = None) -> Any:
        """Return a path that is never cut short to the event's own column."""
        return [path._replace(direct=False) for path in super().get_path_info(filtered_relation)]

    @property
    def path_infos(self) -> Any:
        """As :meth:`get_path_info`."""
        return self.get_path_info()


class FlowEventManager(models.Manager["FlowEvent"]):
    """The stock events of the subject's model."""

    def get_queryset(self) -> "models.QuerySet[FlowEvent]":
        found = super().get_queryset().filter(application=STOCKFLOW)
        subject = self.model.subject_model()
        if subject is None:
            return found
        return found.filter(model__in=[model._meta.label_lower for model in family(subject)])


class FlowEvent(EventColumns):
    """The base of a model of the events of flows, to be read; it has no table of its own.

    ::

        class LeadEvent(FlowEvent):
            subject = SubjectKey(Lead)

        winning = Flow("winning", sources=[hot], sinks=[won], event_model=LeadEvent)
        winning.all().filter(subject__owner=rep)
    """

    objects = FlowEventManager()

    class Meta:
        abstract = True
        managed = False
        db_table = "stockflow_event"
        ordering = ["occurred_at", "id"]

    @property
    def timestamp(self) -> Any:
        """When it was true. Aware, UTC."""
        return from_micros(self.occurred_at or 0)

    @property
    def sink(self) -> str | None:
        """The state that was reached, as ``target`` says; None is the outside."""
        return self.target

    @classmethod
    def subject_model(cls) -> Any:
        """Return the model that ``subject`` leads to; None where it has no such key."""
        keys = [field for field in cls._meta.fields if isinstance(field, SubjectKey)]
        return keys[0].related_model if keys else None

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: transitions record events."""
        raise TypeError(_READ)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: events are never altered."""
        raise TypeError(_READ)


_READ: Final = "Flow events are read only: call a transition, so that one is recorded."


def checked_model(slug: str, model: Any, subject: Any) -> Any:
    """Return the model of a flow's events.

    Raises:
        InvalidDeclaration: If it is no FlowEvent, or its key leads to another model.
    """
    if not (isinstance(model, type) and issubclass(model, FlowEvent)):
        raise InvalidDeclaration(f"Flow {slug!r}: {model!r} is no FlowEvent.")
    found = model.subject_model()
    if found is not None and not (
        issubclass(found, StockflowModel) and issubclass(subject, found._meta.concrete_model)
    ):
        raise InvalidDeclaration(
            f"Flow {slug!r}: the subject of {model._meta.label} is {found._meta.label}, and not "
            f"{subject._meta.label}."
        )
    return model
