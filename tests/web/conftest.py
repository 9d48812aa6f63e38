"""What the tests of the pages share: a few features, and who looks at them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

import stockflow
from example.crm.models import Lead, Rep
from example.webplatform.models import Feature
from stockflow.testing import Clock, clock

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)


@pytest.fixture(name="time")
def _time() -> Iterator[Clock]:
    with clock(NOW) as time:
        yield time


@pytest.fixture(name="feature")
def _feature(db: None, time: Clock) -> Feature:
    """One feature that is newly available, with an awkward name."""
    feature = Feature(key="css.<b>&/1", name="b", area="css")
    with stockflow.context(at=datetime(2025, 6, 1, tzinfo=UTC), actor="import"):
        feature.save()
    with stockflow.context(at=datetime(2026, 2, 1, tzinfo=UTC), reason="<i>shipped</i>"):
        feature.reach_all()
        feature.save()
    return feature


@pytest.fixture(name="lead")
def _lead(db: None, time: Clock) -> Lead:
    """One hot lead."""
    lead = Lead(channel="web", owner=Rep.objects.create(name="Ada", team="north"))
    lead.save()
    return lead


@pytest.fixture(name="admin")
def _admin(db: None, client: Client) -> Client:
    """A client logged in as one who may do all."""
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture(name="clerk")
def _clerk(db: None) -> Client:
    """A client logged in as staff that may view features, and nothing else."""
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_feature"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(name="stranger")
def _stranger(db: None) -> Client:
    """A client logged in as staff that may do nothing."""
    client = Client()
    client.force_login(User.objects.create_user("stranger", is_staff=True))
    return client
