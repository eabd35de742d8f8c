"""Small, obvious implementations that the real ones are compared with."""
