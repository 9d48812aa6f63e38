"""Recording: each transition called becomes an event to be written by the next save."""

from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stockflow import deferring
from stockflow.domain.errors import UnknownState
from stockflow.ledgers import Call, Ledger, ledger_of, remember
from stockflow.machines import machine_of
from stockflow.moments import moment
from stockflow.settling import due, settle
from stockflow.tables import Kind

if TYPE_CHECKING:
    from stockflow.fields import StockField


class called:
    """The span of one transition's call: settles before it, remembers it after."""

    __slots__ = ("field", "instance", "method")

    def __init__(self, instance: Any, field: "StockField", method: Any) -> None:
        self.instance, self.field, self.method = instance, field, method

    def __enter__(self) -> None:
        instance = self.instance
        ledger = ledger_of(instance)
        name: str = self.method.__name__
        if ledger.decay is not None:
            call, ledger.decay = ledger.decay, None
        elif ledger.calls:  # called from another transition's method: part of the same moment
            call = replace(ledger.calls[-1], transition=name, recorded=False)
        else:
            instance._load_stock_columns()
            call = Call(name, *moment(instance))
            settle(instance, call.at)
        ledger.calls.append(call)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        call = ledger_of(self.instance).calls.pop()
        if error is None and not call.recorded:  # a transition without target: no move, but a fact
            state = self.instance.__dict__[self.field.name]
            remember(self.instance, self.field, Kind.RECLASSIFIED, call, state, state)


def moved(instance: Any, field: "StockField", state: Any) -> None:
    """Set the state; inside a transition's call, remember the move and restart the clock."""
    if not isinstance(state, str) or not state:
        raise UnknownState(
            f"{instance._meta.label}.{field.name} cannot enter {state!r}: a state is a text."
        )
    known, state = instance.__dict__, str.__str__(state)
    ledger: Ledger | None = known.get("_stock_ledger")
    if ledger is None or not ledger.calls:
        known[field.name] = state
        return
    call, source = ledger.calls[-1], known[field.name]
    had_timer, decay = known[field.due_name] is not None, None
    machine = machine_of(type(instance), field.name)
    if state == source and not machine.restarts_clock(call.transition, state):
        due_at = known[field.due_name]
        decay, told = deferring.keep(instance, field, call)
    else:
        told, known[field.name] = call, state
        try:
            due_at = due(instance, field, call.at)
        except Exception:
            known[field.name] = source
            raise
    known[field.since_name], known[field.due_name] = call.at, due_at
    call.recorded = True
    remember(instance, field, Kind.MOVED, told, source, state, had_timer=had_timer, decay=decay)
