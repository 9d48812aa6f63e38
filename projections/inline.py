"""Inline event callables: called in the transaction that writes the event."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from stockflow.domain.measures.changes import FLOW_KINDS, Change
from stockflow.listening import LISTENERS
from stockflow.projections import registry
from stockflow.tables import Event


class InlineCallables:
    """Calls the inline event callables of the declared flows."""

    def hears(self, label: str | None) -> bool:
        """Whether a flow of the model has one."""
        known = registry.declared.inline
        return bool(known) if label is None else label in known

    def tell(self, events: Sequence[Event], using: str) -> None:
        """Call them; what one raises undoes the transaction."""
        for event in events:
            for flow in registry.declared.inline.get(event.model or "", ()):
                if event.kind not in FLOW_KINDS or not flow.takes(_change(event)):
                    continue
                rows = flow.subject_model._base_manager.using(using)
                subject: Any = rows.filter(stock_lifecycle=UUID(event.originator)).first()
                for one in flow.event_callables:
                    if one.inline:
                        one(subject, flow.source_of(event), flow.sink_of(event), event)


def _change(event: Event) -> Change:
    return Change(
        1,
        event.model or "",
        event.field or "",
        event.kind or "",
        event.source,
        event.target,
        event.source_facets,
        event.target_facets,
        1,
    )


LISTENERS.append(InlineCallables())
