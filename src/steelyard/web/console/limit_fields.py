"""What `limit_fields.html` sends: limits as people set them, on keys and on workspaces."""

from steelyard.canon.limits import Limits
from steelyard.control.limits import make_limits
from steelyard.web.console.visit import Form


def read_limits(form: Form) -> Limits:
    """The limits of a form; an empty field sets none.

    Raises:
        Fault: naming the field at fault.
    """
    return make_limits(
        rpm=form.get_int("rpm"),
        tpm=form.get_int("tpm"),
        concurrency=form.get_int("concurrency"),
        budget_tokens=form.get_int("budget_tokens"),
        budget_money=form.get("budget_money") or None,
        currency=form.get("currency") or "CNY",
        per=form.get("per") or "month",
    )
