"""The flags that say what a key or a workspace may take; commands that set limits share them."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from steelyard.canon.limits import Limits
from steelyard.control.limits import make_limits


@Parameter(name="*")
@dataclass(frozen=True)
class LimitFlags:
    """What is not given is not limited."""

    rpm: Annotated[int | None, Parameter(help="Requests a minute.")] = None
    tpm: Annotated[int | None, Parameter(help="Tokens a minute.")] = None
    concurrency: Annotated[int | None, Parameter(help="Calls under way at once.")] = None
    budget_tokens: Annotated[int | None, Parameter(help="Tokens that may be taken in the period.")] = None
    budget_money: Annotated[str | None, Parameter(help="Money that may be spent in the period, such as 12.50.")] = None
    currency: Annotated[str, Parameter(help="The budget's currency.")] = "CNY"
    per: Annotated[
        Literal["day", "month", "total"], Parameter(help="The budget's period; days and months begin at midnight UTC.")
    ] = "total"

    def read(self) -> Limits:
        """The limits.

        Raises:
            Fault: two budgets, or no amount of money.
        """
        return make_limits(**asdict(self))


NO_FLAGS = LimitFlags()
