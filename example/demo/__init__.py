"""All of the example in one command."""
