"""What the fence says to whom it stops: what, where, and what to do."""

from stockflow.fence.subjects import Fenced


def inserted(fenced: Fenced) -> str:
    """A row without its opening event."""
    return (
        f"stockflow: a row of {fenced.table} would be inserted without its opening event. "
        f"Create the {fenced} by save() or its manager's bulk_create(), or load its events before it."
    )


def changed(fenced: Fenced) -> str:
    """A row that the log does not know so."""
    has_readers = fenced.facets.keys() - {field.name for field in fenced.fields}
    each = f"{fenced}, loaded as the child that it is," if has_readers else str(fenced)
    return (
        f"stockflow: a state, facet or version in {fenced.table} would change without its event. "
        f"Call the transition, or assign the facet, on each {each} and save() it; "
        "a queryset's transition() does it for many."
    )


def unlinked(fenced: Fenced) -> str:
    """A lifecycle that would name another object."""
    return (
        f"stockflow: the lifecycle of a row of {fenced.table} would change, but it names the "
        f"object's log. To begin a new one, delete() the {fenced} and save() a copy."
    )


def deleted(fenced: Fenced) -> str:
    """A row whose history would stay open."""
    return (
        f"stockflow: a row of {fenced.table} would be deleted without its closing event. "
        f"Call delete() on the {fenced}, its queryset or what it belongs to, with "
        "on_delete=CASCADE: the database's own cascade records nothing."
    )


def replaced(fenced: Fenced) -> str:
    """A row that REPLACE would delete unseen."""
    return (
        f"stockflow: a row of {fenced.table} would be replaced without its closing event. "
        f"Load the {fenced} and save() it, or delete() it first."
    )


def truncated(fenced: Fenced) -> str:
    """All rows at once."""
    return (
        f"stockflow: TRUNCATE of {fenced.table} would leave all its histories open. "
        f"Call delete() on the queryset of {fenced}, or empty the whole database by "
        "manage.py flush."
    )
