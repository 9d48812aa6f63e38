"""A save that fails at any of its statements is whole: all of it or nothing, and repeatable."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from stockflow.models import Event
from stockflow.scheduling.decays import fire_due
from stockflow.testing import Clock
from tests.crm.models import BigLead, Lead
from tests.stockflow.reading import assert_whole, events_of, trail

pytestmark = pytest.mark.django_db(transaction=True)


class Fault:
    """Fails the statement of a number, or all from that one on; counts them all."""

    def __init__(self, fatal: int, *, lasts: bool = False) -> None:
        self.fatal, self.seen, self.lasts = fatal, 0, lasts

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen += 1
        if self.seen == self.fatal or (self.lasts and self.seen > self.fatal):
            raise OperationalError("the disk is full")
        return execute(sql, params, many, context)


def _fails_at(number: int, act: Callable[[], object]) -> bool:
    with connection.execute_wrapper(Fault(number)):
        try:
            act()
        except DatabaseError:
            return True
    return False


def _moved() -> Any:
    big = BigLead.objects.create()
    big.cool()
    big.offer()
    big.channel = "phone"
    return big


@pytest.mark.parametrize("in_block", [False, True])
def test_a_save(in_block: bool) -> None:
    """Nothing of it is there; the next save writes it all, once."""
    for number in itertools.count(1):
        big = _moved()
        before = trail(big)
        failed = _fails_at(number, partial(_saved, big, in_block=in_block))
        if failed:
            assert trail(big) == before
            assert_whole(BigLead.objects.get(pk=big.pk))
        big.save()

        assert trail(big, "temperature")[1:] == ["moved hot>warm", "reclassified warm>warm"]
        assert trail(big, "stage")[1:] == ["moved draft>offered"]
        assert_whole(big)
        if not failed:
            break
    assert number > (2 if connection.vendor == "postgresql" else 3)


def _saved(big: BigLead, *, in_block: bool) -> None:
    if in_block:
        with transaction.atomic():
            big.save()
    else:
        big.save()


def test_a_creation() -> None:
    """Neither row nor event nor timer; then all of them."""
    for number in itertools.count(1):
        big = BigLead()
        failed = _fails_at(number, big.save)
        if failed:
            assert not Event.objects.filter(originator=str(big.stock_lifecycle)).exists()
            assert Lead.objects.count() == number - 1
        big.save()

        assert trail(big) == ["entered >hot", "entered >draft"]
        assert_whole(big)
        if not failed:
            break
    assert number > 4


def test_a_deletion() -> None:
    """The log ends with the row, or neither does."""
    for number in itertools.count(1):
        big = BigLead.objects.create()
        lifecycle = big.stock_lifecycle
        failed = _fails_at(number, BigLead.objects.get().delete)
        if failed:
            assert_whole(BigLead.objects.get())
            BigLead.objects.get().delete()

        assert not Lead.objects.exists()
        assert [e.kind for e in events_of(lifecycle)] == ["entered", "entered", "left", "left"]
        if not failed:
            break
    assert number > 6


@pytest.mark.parametrize("lasts", [False, True])
def test_the_schedule(lasts: bool, time: Clock) -> None:
    """Interrupted anywhere and run again: each decay once, at its instant.

    A fault that passes may be made good at once; one that lasts ends the run.
    """
    for number in itertools.count(1):
        leads = [Lead.objects.create() for _ in range(2)]
        time.advance(timedelta(days=100))
        fault, failed = Fault(number, lasts=lasts), False
        with connection.execute_wrapper(fault):
            try:
                list(fire_due(chunk_size=1))
            except DatabaseError:
                failed = True
        for lead in Lead.objects.all():
            assert_whole(lead)
        list(fire_due(chunk_size=1))

        for lead in leads:
            assert trail(lead) == ["entered >hot", "moved hot>warm", "moved warm>cold"]
        if fault.seen < number:
            break
        assert failed or not lasts
    assert not failed
    assert number > 8
