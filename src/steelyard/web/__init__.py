"""The face: control API, error pages, status page. Starlette routes over the use-cases; admission happened in the gateway."""
