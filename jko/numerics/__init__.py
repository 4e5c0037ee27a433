"""Mathematics that knows no measure: roots, log-domain products, linear systems, transforms."""
