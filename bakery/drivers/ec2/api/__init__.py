"""How AWS is called: accounts, sessions, errors, polling, tags, and requests that are never made twice."""
