"""The HTTP edge (DESIGN §7): who may ask, what a body may be, one transaction, one answer."""
