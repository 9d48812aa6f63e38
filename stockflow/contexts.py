"""Who, why and when: what is recorded with each transition called inside a block."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from stockflow.domain.errors import InvalidContext
from stockflow.domain.instants import require_instant

P = ParamSpec("P")
R = TypeVar("R")


SCHEDULE_KEY = "stockflow.schedule"
"""Where an event's data say what it did to decays, such as
``{"change": "postponed", "due": {"cool": "2026-03-12T00:00:00+00:00"}}``; null is never.

One that changes several decays at once says in ``still`` which of them stay cancelled, skipped or
postponed; one that keeps the clock says in ``since`` when it began."""


@dataclass(frozen=True, eq=False, slots=True)
class Cause:
    """The timer that makes a decay happen; each decay has one of its own.

    Attributes:
        field: The stock field that the timer belongs to.
        due_at: When it is due.
        clock: The version that set its clock, where that is known.
    """

    field: str
    due_at: datetime
    clock: int | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the surrounding blocks say, put together."""

    actor: str = ""
    reason: str = ""
    correlation: str = ""
    at: datetime | None = None
    data: str = ""
    """A JSON object, or nothing."""
    cause: Cause | None = None
    """Of a decay, and of what its method calls."""


_current: ContextVar[Circumstances] = ContextVar("stockflow", default=Circumstances())


def current() -> Circumstances:
    """Return what the surrounding blocks say."""
    return _current.get()


class context:
    """Record *actor*, *reason*, *at* and *data* with every transition called inside.

    A context manager and a decorator, also of coroutine and generator functions. Blocks
    nest: the inner one speaks for what it names, *data* is merged. The values are taken
    when a transition is called (for a new object: when it is saved).

    >>> with context(actor="import", reason="nightly"):
    ...     current().reason
    'nightly'

    Args:
        actor: Who does it: a user (or any saved model instance), kept as
            ``"auth.user:42"``, or a text. An anonymous user is nobody.
        reason: Why, in words.
        at: When it was true, if not now: a timezone-aware datetime.
        data: More facts, a mapping that JSON can hold.
        correlation: What ties events together, such as a request's id.

    Raises:
        InvalidInstant: If *at* is a date or has no time zone.
        InvalidContext: If *data* is no mapping or JSON cannot hold it, or the *actor* is not saved.
    """

    def __init__(
        self,
        *,
        actor: models.Model | str | None = None,
        reason: str = "",
        at: datetime | None = None,
        data: Mapping[str, Any] | None = None,
        correlation: str = "",
    ) -> None:
        self._actor = _actor_text(actor)
        self._reason = reason
        self._at = None if at is None else require_instant(at, "at")
        self._data = _json_object(data)
        self._correlation = correlation
        self._tokens: list[Token[Circumstances]] = []

    def __enter__(self) -> None:
        outer = _current.get()
        self._tokens.append(
            _current.set(
                Circumstances(
                    self._actor or outer.actor,
                    self._reason or outer.reason,
                    self._correlation or outer.correlation,
                    self._at or outer.at,
                    merge(outer.data, self._data),
                )
            )
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._tokens.pop())

    def _again(self) -> "context":
        # A decorated function may run in several threads at once: each call has its own.
        copy = object.__new__(context)
        copy.__dict__.update(self.__dict__, _tokens=[])
        return copy

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isasyncgenfunction(function):
            wrapper: Any = _wrap_async_generator(self, function)
        elif inspect.isgeneratorfunction(function):
            wrapper = _wrap_generator(self, function)
        elif inspect.iscoroutinefunction(function):
            wrapper = _wrap_coroutine(self, function)
        else:
            wrapper = _wrap_function(self, function)
        return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def _wrap_function(block: context, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with block._again():
            return function(*args, **kwargs)

    return wrapper


def _wrap_coroutine(block: context, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with block._again():
            return await function(*args, **kwargs)

    return wrapper


def _wrap_generator(block: context, function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter the block for each step only: between steps the caller's own context rules."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        steps = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, steps)
        try:
            while True:
                try:
                    with block._again():
                        value = resume()
                except StopIteration as stop:
                    return stop.value
                try:
                    resume = functools.partial(steps.send, (yield value))
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume = functools.partial(steps.throw, error)
        finally:
            with block._again():
                steps.close()

    return wrapper


def _wrap_async_generator(block: context, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        steps = function(*args, **kwargs)
        resume: Callable[[], Any] = steps.__anext__
        try:
            while True:
                try:
                    with block._again():
                        value = await resume()
                except StopAsyncIteration:
                    return
                try:
                    resume = functools.partial(steps.asend, (yield value))
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume = functools.partial(steps.athrow, error)
        finally:
            with block._again():
                await steps.aclose()

    return wrapper


def _actor_text(actor: models.Model | str | None) -> str:
    if actor is None or isinstance(actor, str):
        return actor or ""
    if getattr(actor, "is_anonymous", False) is True:
        return ""
    meta = getattr(actor, "_meta", None)
    if meta is None or actor.pk is None:
        raise InvalidContext(
            f"actor must be a saved model instance or a text, not {actor!r}: "
            "save it first, or name it in words."
        )
    return f"{meta.label_lower}:{actor.pk}"


def _json_object(data: Mapping[str, Any] | None) -> str:
    if not data:
        return ""
    if not isinstance(data, Mapping):
        raise InvalidContext(f"data must be a mapping of names to values, not {data!r}.")
    if SCHEDULE_KEY in data:
        raise InvalidContext(f"data cannot have the name {SCHEDULE_KEY!r}: choose another one.")
    try:
        return json.dumps(
            dict(data), cls=DjangoJSONEncoder, ensure_ascii=False, sort_keys=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise InvalidContext(f"data cannot be kept as JSON: {error}. Give plain values.") from error


def merge(outer: str, inner: str) -> str:
    """Return one JSON object of two, where both have a name the *inner* one's."""
    if not (outer and inner):
        return inner or outer
    return json.dumps(json.loads(outer) | json.loads(inner), ensure_ascii=False, sort_keys=True)
