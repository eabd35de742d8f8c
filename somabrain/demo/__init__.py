"""`somabrain demo`: an agent in a real environment that learns and plans through the HTTP API and nothing else."""
