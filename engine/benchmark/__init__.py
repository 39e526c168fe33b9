"""Speed, memory and floors of networks."""
