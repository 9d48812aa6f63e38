"""What one transition and its save cost, measured against peers: ``python -m tests.benchmarks``."""
