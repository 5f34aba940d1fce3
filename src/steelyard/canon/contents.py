"""What a call refers to and does not hold: documents and media in our own store, and what is wanted of them."""

import msgspec

OSS_SCHEME, FILE_SCHEME = "oss://", "fileid://"
#: As a `data:` link, for models that look or listen; as a text, for all.
DATA, TEXT = "data", "text"


class Want(msgspec.Struct, frozen=True):
    """One link, and the form in which its content is put in its place."""

    link: str
    form: str
