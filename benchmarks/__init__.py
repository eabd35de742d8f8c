"""What the service is measured by. Each module is a program: `python -m benchmarks.<module> --help`."""
