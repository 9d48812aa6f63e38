"""What happens by itself: decays at their due instants."""
