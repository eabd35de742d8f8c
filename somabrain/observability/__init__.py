"""What the service says of itself: metrics and JSON logs (DESIGN §11)."""
