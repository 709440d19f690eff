"""Ways of finding items of the whole catalogue for a request."""

from funneltune.decisions.candidates.collaborative import Collaborative
from funneltune.decisions.candidates.hybrid import Convex, Hybrid
from funneltune.decisions.candidates.lexical import Lexical
from funneltune.decisions.candidates.popular import Popular
from funneltune.decisions.candidates.protocol import Candidates, Found
from funneltune.decisions.candidates.reranked import Reranked
from funneltune.decisions.candidates.semantic import Semantic

__all__ = ["Candidates", "Collaborative", "Convex", "Found", "Hybrid", "Lexical", "Popular", "Reranked", "Semantic"]
