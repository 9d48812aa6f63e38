"""What is counted of the leads."""

from example.crm.models import Lead
from stockflow.projections import Facet, Flow, Process, Stock

channel = Facet("channel", labels={"web": "Web", "fair": "Trade fair", "phone": "Phone"})
team = Facet("team", "owner__team")

hot = Stock("hot", Lead.temperature, states=["hot"])

pipeline = Stock("pipeline", Lead.temperature, states=["hot", "warm"])

won = Stock("won", Lead.temperature, states=["won"])

arriving = Flow("arriving", sources=[None], sinks=[hot])
winning = Flow("winning", sources=[pipeline], sinks=[won])

sales = Process(
    "sales",
    stocks=[hot, pipeline, won],
    flows=[arriving, winning],
    facets=[channel, team],
    description="From the first word to the signature. The leads are simulated.",
)
