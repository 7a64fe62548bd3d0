"""Each of the graph's operators as expressions, index maps and operations of a plan."""

from __future__ import annotations

from rtsep.engines.native.elementwise import ELEMENTWISE
from rtsep.engines.native.indexing import INDEXING
from rtsep.engines.native.nodes import Handler
from rtsep.engines.native.products import PRODUCTS
from rtsep.engines.native.recurrence import lstm
from rtsep.engines.native.reductions import ALONG

OPERATORS: dict[str, Handler] = ELEMENTWISE | INDEXING | ALONG | PRODUCTS | {"LSTM": lstm}
# Those that multiply the signal with weights.
WEIGHTED = {*PRODUCTS, "LSTM"}
