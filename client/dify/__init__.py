"""For Dify: what stands inside its plugins."""
