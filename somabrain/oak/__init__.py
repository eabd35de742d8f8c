"""Oak, the option layer: states, option models learned from executions, and plans over them."""
