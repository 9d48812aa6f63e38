"""Coaching: who keeps at it, who slips, and whom to call."""
