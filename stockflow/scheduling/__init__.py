"""What happens by itself: decays that fall due, and functions that run once per period."""

from stockflow.scheduling.periodic import periodic, register

__all__ = ["periodic", "register"]
