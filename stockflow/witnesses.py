"""Witnesses: signed statements of what the log was, kept where nobody who can write it can."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.core import signing
from django.db import DEFAULT_DB_ALIAS

from stockflow import conf
from stockflow.domain.errors import InvalidWitness
from stockflow.eventstore.sequencer import catch_up
from stockflow.tables import Position
from stockflow.verification import Wrong, applications

_SALT = "stockflow.witness"


def witness(using: str = DEFAULT_DB_ALIAS) -> str:
    """Return a signed statement of the last position and hash of each log, as JSON text.

    The signature is an HMAC by a key that Django derives from ``SECRET_KEY``: who does not
    know that cannot forge one. Every event before is covered, since hashes are linked.
    """
    catch_up(using)
    heads = {}
    for name in applications(using):
        head = Position.objects.using(using).filter(application=name).latest("position")
        heads[name] = {"position": head.position, "hash": bytes(head.hash).hex()}
    said = {"at": conf.now(using).isoformat(), "heads": heads}
    signature = signing.Signer(salt=_SALT).signature(_text(said))
    return json.dumps({**said, "signature": signature}, indent=2) + "\n"


def read(text: str) -> Mapping[str, Any]:
    """Return what the witness *text* says.

    Raises:
        InvalidWitness: If it is none, or not signed by this project's ``SECRET_KEY``.
    """
    try:
        said = json.loads(text)
        signature = said.pop("signature")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InvalidWitness("This is no witness: it is not what `witness` writes.") from None
    signer = signing.Signer(salt=_SALT)
    try:
        signer.unsign(f"{_text(said)}{signer.sep}{signature}")
    except signing.BadSignature:
        raise InvalidWitness(
            "The witness is not signed by this project, or was altered. If SECRET_KEY was changed "
            "since, put the former one into SECRET_KEY_FALLBACKS."
        ) from None
    return dict(said)


def compare(said: Mapping[str, Any], using: str = DEFAULT_DB_ALIAS) -> Iterator[Wrong]:
    """Yield where the log of the database *using* is not what the witness saw."""
    for name, head in said["heads"].items():
        where = f"Position {head['position']} of {name}"
        entries = Position.objects.using(using).filter(application=name)
        digest = entries.filter(position=head["position"]).values_list("hash", flat=True).first()
        if digest is None:
            yield Wrong(
                where, f"it is gone, and a witness saw it on {said['at']}: the tail was cut"
            )
        elif bytes(digest).hex() != head["hash"]:
            what = "it is not what a witness saw on {}: it, or one before it, was rewritten"
            yield Wrong(where, what.format(said["at"]))


def _text(said: Mapping[str, Any]) -> str:
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
