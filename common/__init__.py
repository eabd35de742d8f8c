"""What every part of the code base may use: configuration and nothing that does I/O."""
