"""Events as Avro: schemas, and encoding by name. Knows nothing of the service."""
