"""For Dify: what stands inside its plugins, and in its API."""
