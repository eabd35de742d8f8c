"""The commands behind `somabrain`, sorted by what they need: a server to serve, a database, or a server to ask."""
