"""Where trials are kept: in a journal file, a database, or behind Optuna's storage proxy."""

import re
import warnings
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from sitesynth.errors import SettingsError


__all__ = ["mend_journal", "open_storage"]

JOURNAL = "journal:"
GRPC = "grpc://"

PROXY_TIMEOUT_S = 10


def open_storage(address: str) -> BaseStorage:
    """Open what an address names.

    Args:
        address: `journal:<path>`, `grpc://<host>:<port>`, or the URL of a database.

    Raises:
        SettingsError: If it cannot be opened.
    """
    if address.startswith(JOURNAL):
        path = Path(address.removeprefix(JOURNAL))
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    try:
        return _open_proxy(address) if address.startswith(GRPC) else RDBStorage(address)
    except (ImportError, OSError, ValueError, SQLAlchemyError) as error:
        shown = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", address)
        raise SettingsError(
            f"mixing.storage: '{shown}' cannot be opened ({type(error).__name__}). Name "
            "postgresql+psycopg://host/database or grpc://host:port of a running server, or null "
            "for a journal file."
        ) from error


def _open_proxy(address: str) -> BaseStorage:
    host, _, port = address.removeprefix(GRPC).rpartition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=PROXY_TIMEOUT_S)
    return proxy


def mend_journal(address: str) -> None:
    """Free a journal of what a killed process left in it: a lock, and half a line.

    To be called while nobody else uses it. Other storages mend themselves.
    """
    if not address.startswith(JOURNAL):
        return
    path = Path(address.removeprefix(JOURNAL))
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()
    if path.exists():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            with path.open("r+b") as file:
                file.truncate(end)
