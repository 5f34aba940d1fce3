"""Built-in functions: one family a file, each with a table `FUNCTIONS` (name -> body). Source: prometheus.md 5.7."""

from steelyard.promql.functions import dates, histograms, labelling, maps, over_time, rates, shapes
from steelyard.promql.invocation import Body

FUNCTIONS: dict[str, Body] = {
    **maps.FUNCTIONS,
    **dates.FUNCTIONS,
    **shapes.FUNCTIONS,
    **labelling.FUNCTIONS,
    **over_time.FUNCTIONS,
    **rates.FUNCTIONS,
    **histograms.FUNCTIONS,
}
