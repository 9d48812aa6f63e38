"""Features of the web platform, from the first browser to all of them."""
