"""Real environments: how good the plans become, against the exact optimum."""
