"""Libraries that know nothing of the service: wire formats and the clients that speak them."""
