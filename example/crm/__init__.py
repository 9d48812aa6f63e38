"""Leads that cool when nobody calls."""
