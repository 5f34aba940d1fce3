"""The face: control API, error pages, the console. Starlette routes over the use-cases; admission happened in the gateway."""
