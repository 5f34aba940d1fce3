"""Which runner makes a picture or a film, or hears speech: chosen by the model's targets, tried in their order."""

from steelyard.canon.model import Model, Target
from steelyard.canon.task import OPERATION_OF, TaskFailure
from steelyard.tasks.job import Done, Failed, Job
from steelyard.tasks.local import LocalRunner
from steelyard.tasks.openai_media import OpenaiRunner
from steelyard.tasks.vendor import VendorRunner


class MediaRunner:
    """Runs image, video and transcription tasks."""

    def __init__(self, local: LocalRunner, vendor: VendorRunner, openai: OpenaiRunner) -> None:
        self._local = local
        self._vendor = vendor
        self._openai = openai

    async def run(self, job: Job, model: Model | None) -> Done:
        """See `job.Runner`."""
        target = choose_target(job, model)
        if target.is_local:
            return await self._local.run(job, target)
        if target.tasks_url:
            return await self._vendor.run(job, target)
        if target.api == "openai":
            return await self._openai.run(job, target)
        text = f"The model's target {target.label} speaks an API without {job.task.kind} tasks."
        raise Failed(TaskFailure(code="ModelUnavailable", message=text), target.label)


def choose_target(job: Job, model: Model | None) -> Target:
    """The target that has the task already, else the next in the route's order; a retry goes on to the next one.

    Raises:
        Failed: the model has none that can do it, any more.
    """
    operation = OPERATION_OF[job.task.kind]
    able = [] if model is None else [target for target in model.targets if operation in target.operations]
    if not able:
        text = f"The model `{job.task.model}` has no target for {operation} any more."
        raise Failed(TaskFailure(code="ModelNotFound", message=text))
    noted = job.notes.get("target")
    if "telling_us" in job.notes or "there" in job.notes:
        found = next((target for target in able if target.label == noted), None)
        if found is None:
            text = "The provider that has this task was removed."
            raise Failed(TaskFailure(code="ModelUnavailable", message=text))
        return found
    ordered = sorted(able, key=lambda target: target.priority)
    return ordered[(job.claimed.attempt - 1) % len(ordered)]


__all__ = ["MediaRunner", "choose_target"]
