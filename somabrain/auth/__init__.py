"""Who is calling: one authenticator for each AUTH_MODE (DESIGN §8)."""
