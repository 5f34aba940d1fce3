"""`steelyard tasks`."""

from pathlib import Path

from cyclopts import App

from steelyard.cli.context import print_json, print_table
from steelyard.cli.media_flags import HERE, EndpointFlags, calling, native_root, wait_and_save

app = App(name="tasks", help="Tasks: list, show, wait for, cancel.")


@app.command(name="list")
def list_tasks(
    *,
    status: str | None = None,
    model: str | None = None,
    limit: int = 20,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """List tasks of the last 24 hours, the newest first.

    Parameters
    ----------
    status
        PENDING, RUNNING, SUCCEEDED, FAILED or CANCELED.
    model
        Of this model alone.
    limit
        How many.
    endpoint
        Whose.
    json
        Print JSON.
    """
    query = f"page_size={limit}" + (f"&status={status}" if status else "") + (f"&model_name={model}" if model else "")
    with calling(endpoint) as client:
        found = client.get(f"{native_root(client.endpoint)}/tasks?{query}").json()
    if json:
        print_json(found["data"])
        return
    rows = [(one["task_id"], one["model_name"], one["status"]) for one in found["data"]]
    print_table(("task", "model", "status"), rows)


@app.command
def show(task_id: str, *, endpoint: EndpointFlags = HERE) -> None:
    """Show a task as JSON.

    Parameters
    ----------
    task_id
        Its id.
    endpoint
        Whose.
    """
    with calling(endpoint) as client:
        print_json(client.get(f"{native_root(client.endpoint)}/tasks/{task_id}").json())


@app.command
def wait(
    task_id: str,
    *,
    out: Path | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Wait for a task's end and print or save its results.

    Parameters
    ----------
    task_id
        Its id.
    out
        Save the results here: a file, or a directory.
    endpoint
        Whose.
    json
        Print JSON.
    """
    with calling(endpoint) as client:
        wait_and_save(client.endpoint, task_id, out, json=json)


@app.command
def cancel(task_id: str, *, endpoint: EndpointFlags = HERE) -> None:
    """Cancel a task that has not begun.

    Parameters
    ----------
    task_id
        Its id.
    endpoint
        Whose.
    """
    with calling(endpoint) as client:
        client.post(f"{native_root(client.endpoint)}/tasks/{task_id}/cancel", {})
    print(f"{task_id} is cancelled.")
