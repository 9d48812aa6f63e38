"""A Django project that runs, made of stockflow's public names."""
