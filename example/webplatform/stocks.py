"""What is counted of the features."""

from example.webplatform.models import Feature
from stockflow.projections import Facet, Flow, Process, Stock

area = Facet(
    "area",
    labels={
        "api": "Web APIs",
        "css": "CSS",
        "html": "HTML",
        "http": "HTTP",
        "javascript": "JavaScript",
        "manifests": "Manifests",
        "mathml": "MathML",
        "mediatypes": "Media types",
        "svg": "SVG",
        "webassembly": "WebAssembly",
        "webdriver": "WebDriver",
    },
)

limited = Stock(
    "limited",
    Feature.status,
    states=["limited"],
    description="Features that some of the core browsers have.",
)
newly = Stock(
    "newly",
    Feature.status,
    states=["newly"],
    name="Newly available",
    description="Features that all core browsers have, for less than 30 months.",
)
widely = Stock(
    "widely",
    Feature.status,
    states=["widely"],
    name="Widely available",
    description="Features that all core browsers have had for 30 months.",
)

appearing = Flow("appearing", sources=[None], sinks=[limited])
reaching = Flow("reaching", sources=[limited], sinks=[newly], name="Reaching all browsers")
widening = Flow("widening", sources=[newly], sinks=[widely])

web = Process(
    "web",
    stocks=[limited, newly, widely],
    flows=[appearing, reaching, widening],
    facets=[area],
    name="Web platform",
    description="From the first browser to all of them, and 30 months later to everybody.",
)
