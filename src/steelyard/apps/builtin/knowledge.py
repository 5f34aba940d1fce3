"""Knowledge bases, searched where the model thinks it needs to."""

from typing import Any

from steelyard.apps.builtin.plugin import BuiltinPlugin, Surroundings
from steelyard.apps.kit import Result
from steelyard.base.errors import Fault
from steelyard.canon.apps import ToolSpec
from steelyard.canon.knowledge import KnowledgeWish
from steelyard.dialects.passages import MAX_BASES, locator_of

SEARCH = ToolSpec(
    name="search",
    description="Finds passages in the knowledge bases that answer a question.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What is looked for, in a sentence."},
            "knowledge_base": {
                "type": "string",
                "description": "The name or id of one base; all are searched where it is left out.",
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)


async def search(arguments: dict[str, Any], surroundings: Surroundings) -> Result:
    """Passages, numbered, with where they stand."""
    known = await surroundings.list_bases()
    names = {name: base_id for base_id, name in known}
    allowed = surroundings.bases or tuple(base_id for base_id, _ in known)
    wanted = arguments.get("knowledge_base")
    bases = allowed
    if wanted:
        base_id = names.get(wanted, wanted)
        if base_id not in allowed:
            return Result(
                f"There is no knowledge base {wanted[:100]!r}; there are: {', '.join(names) or 'none'}.", is_error=True
            )
        bases = (base_id,)
    if not bases:
        return Result("There are no knowledge bases here.", is_error=True)
    try:
        found = await surroundings.find_passages(KnowledgeWish(bases=bases[:MAX_BASES], question=arguments["query"]))
    except Fault as failure:
        return Result(f"The search failed: {failure.message}", is_error=True)
    if not found.passages:
        return Result("No relevant passage was found.", found=found)
    shown = [f"[{number}] {locator_of(one)}\n{one.text}" for number, one in enumerate(found.passages, start=1)]
    return Result("\n\n".join(shown), found=found)


PLUGIN = BuiltinPlugin("knowledge", "Search in the workspace's knowledge bases.", (SEARCH,), {"search": search})
