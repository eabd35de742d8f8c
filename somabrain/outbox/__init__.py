"""Events leaving the service: the relay hands the journal to sinks, at least once and in each tenant's order."""
