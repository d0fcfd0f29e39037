"""A Hugging Face Hub on this machine, for tests; see README.md."""

from .connection import LoggedRequest
from .faults import Fault
from .server import HubServer

__all__ = ["Fault", "HubServer", "LoggedRequest"]
