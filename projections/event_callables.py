"""Event callables: functions that are called with each event of a flow."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

from stockflow.errors import InvalidDeclaration

_LONGEST: Final = 255


class EventCallable:
    """A function that a flow calls with each of its events.

    ::

        def send_flowers(lead, source, sink, event): ...

        Flow(
            "winning",
            sources=[pipeline],
            sinks=[won],
            event_callables=[send_flowers, EventCallable(book, inline=True)],
        )

    It is given the object (None where it was deleted meanwhile), the flow's source and sink that
    the event led between (a stock, a state, or None for the outside) and the event; or the first
    three only, if it takes no more.

    Unless it is inline it runs after the commit, from the periodic schedule, each call in a transaction of
    its own that also says that it was made. So what it writes to the database happens once; what
    it does elsewhere at least once, and again only if it was interrupted. One that fails is tried
    again a minute later, then ever more seldom, then parked. The later events of that object wait,
    those of others do not. It begins with the events that come after it was first seen, and a
    replay never calls it.

    Args:
        function: What is called.
        inline: Call it in the transaction that writes the event, whoever writes it, in bulk and
            by decay too. What it raises undoes the transaction; the object is as its row is then.
        name: What its progress is kept under; the function's module and name by default. Another
            name begins anew.

    Raises:
        InvalidDeclaration: If it cannot be called so, or has no name of its own.
    """

    def __init__(
        self, function: Callable[..., Any], *, inline: bool = False, name: str = ""
    ) -> None:
        self.function, self.inline = function, inline
        self.name = name or _name_of(function)
        self._takes = _takes(function)
        if not self.name or len(self.name) > _LONGEST:
            raise InvalidDeclaration(
                f"The event callable {function!r} has no name to keep its progress under: give it "
                f"a name= of at most {_LONGEST} characters."
            )

    def __repr__(self) -> str:
        return f"<EventCallable: {self.name}>"

    def __call__(self, subject: Any, source: Any, sink: Any, event: Any) -> None:
        """Call the function with as much as it takes."""
        self.function(*(subject, source, sink, event)[: self._takes])


def _name_of(function: Any) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{module}.{name}" if module and name else ""


def _takes(function: Any) -> int:
    for number in (4, 3):
        try:
            inspect.signature(function).bind(*range(number))
        except (TypeError, ValueError):
            continue
        return number
    raise InvalidDeclaration(
        f"The event callable {function!r} cannot be called with an object, source, sink and event: "
        "let it take these four, or the first three."
    )


def listed(slug: str, given: Iterable[Any]) -> tuple[EventCallable, ...]:
    """Return the event callables of a flow.

    Raises:
        InvalidDeclaration: If one is none, or two have one name.
    """
    found: list[EventCallable] = []
    for one in given:
        made = one if isinstance(one, EventCallable) else EventCallable(one)
        if made.name in {other.name for other in found}:
            raise InvalidDeclaration(
                f"Flow {slug!r} has two event callables {made.name!r}: give one of them a name=."
            )
        found.append(made)
    return tuple(found)
