"""`steelyard explain`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from steelyard.base.explain import explain
from steelyard.cli.context import EXIT_FAILED, fail, pick, print_json


def explain_command(
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *more: str,
    lang: Literal["en", "zh"] = "en",
    json: bool = False,
) -> None:
    """Say what an error means, how to cure it, and whether to retry. Needs no network.

    Parameters
    ----------
    text
        A status, code, message or whole JSON body of any dialect; `-` reads standard input.
    more
        Further words of the message.
    lang
        Language of the answer.
    json
        Print JSON.
    """
    asked = sys.stdin.read() if text == "-" else " ".join((text, *more))
    found = explain(asked)
    if not found:
        message = ("No error like this is known; `/errors` on a running server lists all.", "没有匹配的错误。")
        fail(pick(message, lang), EXIT_FAILED)
    if json:
        print_json([one.as_dict() for one in found])
        return
    labels = {"en": ("cause", "cure", "retry", "yes", "no"), "zh": ("原因", "处理", "重试", "可以", "不要")}[lang]
    for one in found[:3]:
        row = one.row
        print(f"{row.status} {row.slug}  ({row.openai_type} / {row.openai_code} / {row.native_code})")
        print(f"  {row.shown_message}")
        print(f"  {labels[0]}: {pick(row.cause, lang)}")
        print(f"  {labels[1]}: {pick(row.cure, lang)}")
        print(f"  {labels[2]}: {labels[3] if row.is_retryable else labels[4]}")
