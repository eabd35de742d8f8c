"""What connects agents' frameworks to the client: a module for each, which imports that framework and no other."""
