"""`steelyard support-bundle`."""

import sys
from pathlib import Path

from steelyard.base.errors import SetupFault
from steelyard.base.jsondoor import encode
from steelyard.cli.context import get_settings, print_json, with_models, with_records
from steelyard.config import show_settings
from steelyard.control.support import make_bundle
from steelyard.control.usage import get_receipt


def support_bundle(
    request_id: str, *, output: Path | None = None, data_dir: Path | None = None, config: Path | None = None
) -> None:
    """Gather what is known of a call for whoever helps: receipt, errors, route, settings. No secret and no text is in it.

    Parameters
    ----------
    request_id
        The answer's `x-request-id`.
    output
        A file to write; default standard output.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    """
    settings = get_settings(data_dir, config)
    receipt = with_records(settings, lambda records: get_receipt(records, request_id, None))
    models = with_models(settings, lambda book: book.read())
    bundle = make_bundle(receipt, models.get(receipt["model"]), show_settings(settings))
    if output is None:
        print_json(bundle)
        return
    try:
        output.write_bytes(encode(bundle))
    except OSError as exc:
        raise SetupFault(f"{output} cannot be written: {exc.strerror}.") from None
    print(f"{output} is written; look it over before you send it.", file=sys.stderr)
