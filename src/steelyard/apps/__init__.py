"""Apps and plugins: a model with a prompt, knowledge and tools behind one id; tools as data, never as code run in our processes."""
