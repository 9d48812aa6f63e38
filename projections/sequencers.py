"""Members one after another: the walk through a stock, whatever moves meanwhile."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import F, Field, Q, QuerySet

from stockflow.errors import InvalidDeclaration, InvalidSelection
from stockflow.projections.selections import StockSelection

__all__ = ["StockSequencer"]

_FURTHEST: Final = 2**63 - 1  # the highest number that a database counts to
STEPS: Final = ("first", "previous", "next", "last")


class Place(NamedTuple):
    """Where a cursor stands.

    Attributes:
        before: How many members come before it.
        total: How many there are.
        is_member: Whether the object of the cursor is still one of them.
    """

    before: int
    total: int
    is_member: bool

    @property
    def number(self) -> int:
        """The place of the object, from 1; once it left, that of who stands there now."""
        return self.before + 1

    @property
    def after(self) -> int:
        """How many members come after it."""
        return self.total - self.before - self.is_member


@dataclass(frozen=True)
class _Key:
    """A column by which members are ordered; what has no value comes last."""

    field: "Field[Any, Any]"
    is_descending: bool

    @property
    def name(self) -> str:
        return self.field.name

    def ordering(self, *, is_backwards: bool) -> Any:
        nulls: dict[str, Any] = {}
        if self.field.null:
            nulls = {"nulls_first": True} if is_backwards else {"nulls_last": True}
        if self.is_descending != is_backwards:
            return F(self.name).desc(**nulls)
        return F(self.name).asc(**nulls)

    def beyond(self, value: Any, *, is_backwards: bool) -> Q:
        """Return the condition of lying beyond *value*."""
        if value is None:
            return Q(**{f"{self.name}__isnull": False}) if is_backwards else Q(pk__in=[])
        side = "lt" if self.is_descending != is_backwards else "gt"
        further = Q(**{f"{self.name}__{side}": value})
        return further if is_backwards else further | Q(**{f"{self.name}__isnull": True})

    def same(self, value: Any) -> Q:
        return Q(**{f"{self.name}__isnull": True} if value is None else {self.name: value})

    def text(self, obj: Any) -> str | None:
        if getattr(obj, self.field.attname) is None:
            return None
        return str(self.field.value_to_string(obj))

    def value(self, text: object) -> Any:
        if not isinstance(text, str | None):
            raise TypeError(text)
        return None if text is None else self.field.to_python(text)


class StockSequencer:
    """Walks through the members of a selection, one after another.

    A *cursor* says where one is. It holds the values by which the members are ordered, as they
    were when the object was shown, so the next one is found even where the object has left
    the stock, changed its place or been deleted meanwhile: nobody is skipped and nobody comes
    twice, save who moves past the cursor.

    ::

        walk = StockSequencer(StockSelection(hot, {"channel": "web"}), ordering=["temperature_since"])
        lead = walk.first()
        cursor = walk.cursor(lead)
        lead.win(900); lead.save()        # it left the stock
        walk.next(cursor)                 # and the walk goes on

    Args:
        selection: Whose members.
        ordering: Columns of the model, ``-`` before one for the highest first; the key comes
            last where it is not among them. What has no value comes after what has.
        members: Those to walk through, where not all of the selection.

    Raises:
        InvalidDeclaration: If the ordering names no column of the model.
    """

    def __init__(
        self,
        selection: StockSelection,
        *,
        ordering: Sequence[str] = (),
        members: "QuerySet[Any] | None" = None,
    ) -> None:
        self.selection = selection
        self.members = selection.members() if members is None else members
        self._keys = _keys(self.members.model, ordering)

    def count(self) -> int:
        """Return how many members there are."""
        return self.members.order_by().count()

    def first(self) -> Any:
        """Return the first member, None if there is none."""
        return self._ordered(self.members).first()

    def last(self) -> Any:
        """Return the last member, None if there is none."""
        return self._ordered(self.members, is_backwards=True).first()

    def nth(self, number: int) -> Any:
        """Return the member at a place counted from 1, None if there is none.

        Raises:
            InvalidSelection: If *number* is less than 1.
        """
        if number < 1:
            raise InvalidSelection(f"Members are counted from 1: there is none at {number}.")
        if number > _FURTHEST:
            return None
        return next(iter(self._ordered(self.members)[number - 1 : number]), None)

    def next(self, cursor: str) -> Any:
        """Return the member after *cursor*, None if it was the last.

        Raises:
            InvalidSelection: If *cursor* is none of this ordering.
        """
        return self._beyond(cursor).first()

    def previous(self, cursor: str) -> Any:
        """Return the member before *cursor*, None if it was the first.

        Raises:
            InvalidSelection: If *cursor* is none of this ordering.
        """
        return self._beyond(cursor, is_backwards=True).first()

    def step(self, step: str, cursor: str = "") -> Any:
        """Return the member that *step* leads to, None where the walk ends.

        Args:
            step: ``"first"``, ``"previous"``, ``"next"``, ``"last"`` or a number from 1, as text.
            cursor: Where one is; without it the walk begins, and next means first.

        Raises:
            InvalidSelection: If the step or the cursor is none.
        """
        if step.isascii() and step.isdigit():
            # Longer than any key of a database is beyond the end.
            return self.nth(int(step)) if len(step) < 19 else None
        if step not in STEPS:
            raise InvalidSelection(
                f"{step!r} is no step: take {', '.join(map(repr, STEPS))} or a number from 1."
            )
        if step == "first" or (step == "next" and not cursor):
            return self.first()
        if step == "last" or not cursor:
            return self.last()
        return self.next(cursor) if step == "next" else self.previous(cursor)

    def cursor(self, obj: Any) -> str:
        """Return the cursor of *obj* as it is now."""
        texts = [key.text(obj) for key in self._keys]
        return texts[0] or "" if len(texts) == 1 else json.dumps(texts)

    def key(self, cursor: str) -> Any:
        """Return the primary key of the object of *cursor*.

        Raises:
            InvalidSelection: If it is none of this ordering.
        """
        return self._values(cursor)[-1]

    def place(self, cursor: str) -> Place:
        """Return where *cursor* stands among the members.

        Raises:
            InvalidSelection: If it is none of this ordering.
        """
        return Place(
            self._beyond(cursor, is_backwards=True).order_by().count(),
            self.count(),
            self.members.filter(pk=self.key(cursor)).exists(),
        )

    def _ordered(self, members: "QuerySet[Any]", *, is_backwards: bool = False) -> "QuerySet[Any]":
        return members.order_by(*(key.ordering(is_backwards=is_backwards) for key in self._keys))

    def _beyond(self, cursor: str, *, is_backwards: bool = False) -> "QuerySet[Any]":
        values = self._values(cursor)
        sides = []
        for n, (key, value) in enumerate(zip(self._keys, values, strict=True)):
            side = key.beyond(value, is_backwards=is_backwards)
            for before, same in zip(self._keys[:n], values, strict=False):
                side &= before.same(same)
            sides.append(side)
        beyond = self.members.filter(reduce(or_, sides))
        return self._ordered(beyond, is_backwards=is_backwards)

    def _values(self, cursor: str) -> list[Any]:
        try:
            texts = [cursor] if len(self._keys) == 1 else json.loads(cursor)
            if not isinstance(texts, list) or len(texts) != len(self._keys):
                raise ValueError("not as many texts as columns")
            return [key.value(text) for key, text in zip(self._keys, texts, strict=True)]
        except (ValueError, TypeError, ValidationError):
            names = ", ".join(key.name for key in self._keys)
            raise InvalidSelection(
                f"{cursor!r} is no place in {self.selection.stock.slug!r} by {names}: "
                "begin again with the step 'first'."
            ) from None


def _keys(model: Any, ordering: Sequence[str]) -> list[_Key]:
    keys = []
    for name in ordering:
        plain = name.removeprefix("-")
        try:
            field = model._meta.pk if plain == "pk" else model._meta.get_field(plain)
        except FieldDoesNotExist:
            field = None
        if field not in model._meta.concrete_fields:
            known = ", ".join(field.name for field in model._meta.concrete_fields)
            raise InvalidDeclaration(
                f"Members of {model._meta.label} cannot be ordered by {name!r}: it is no column "
                f"of theirs (they have: {known})."
            )
        keys.append(_Key(field, name.startswith("-")))
        if field.primary_key:
            return keys  # nothing after it can matter
    return [*keys, _Key(model._meta.pk, is_descending=False)]
