"""The policy: how its decision is read, and the engines that evaluate it (DESIGN §8)."""
