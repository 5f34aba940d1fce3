"""A package, so that what its tests share ends with the last of them: a browser that went on would keep its event loop."""
