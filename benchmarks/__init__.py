"""How fast bakery is, beside others doing the same, in one run."""
