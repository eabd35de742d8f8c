"""What the service is measured by: `python -m benchmarks` runs some, `python -m benchmarks.<module> --help` one."""
