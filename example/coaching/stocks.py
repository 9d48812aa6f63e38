"""What is counted of the coaching."""

from example.coaching.models import Login, Profile
from stockflow.projections import Facet, Flow, Process, Stock

coach = Facet("coach", "coach__name")
ramp = Facet("ramp", labels=Profile.RAMPS, values=list(Profile.RAMPS))
source = Facet("source", labels=Profile.SOURCES, values=list(Profile.SOURCES))
pay_state = Facet(
    "pay-state", "pay_state", labels=Profile.PAY_STATES, values=list(Profile.PAY_STATES)
)

FACETS = [coach, ramp, source, pay_state]

new = Stock("new", Profile.consistency, states=["new"], facets=FACETS)
steady = Stock("steady", Profile.consistency, states=["steady"], facets=FACETS)
slipping = Stock(
    "slipping",
    Profile.consistency,
    states=["slipping"],
    facets=FACETS,
    description="A week without a login: to be called.",
)
called = Stock("called", Profile.consistency, states=["called"], facets=FACETS)
lapsed = Stock("lapsed", Profile.consistency, states=["lapsed"], facets=FACETS)
logged = Stock("logged", Login.state, states=["made"], name="Logins so far")

joining = Flow("joining", sources=[None], sinks=[new])
losing = Flow("losing", sources=[new, steady], sinks=[slipping], name="Slipping away")
calling = Flow("calling", sources=[slipping, lapsed], sinks=[called])
returning = Flow(
    "returning", sources=[slipping, called, lapsed], sinks=[steady], name="Coming back"
)
lapsing = Flow("lapsing", sources=[slipping, called], sinks=[lapsed])
logging_in = Flow("logging-in", sources=[None], sinks=[logged], name="Logging in")

coaching = Process(
    "coaching",
    stocks=[new, steady, slipping, called, lapsed],
    flows=[joining, losing, calling, returning, lapsing],
    facets=FACETS,
    description="Who keeps at it, who slips, and whom a call brings back. The people are simulated.",
)
