"""The guard of a gateway: answers for each request whether it may pass, and who sent it (``mintmark guard``).

nginx, Traefik, Envoy and HAProxy ask it before they forward anything. What may pass says a table of routes; what is not
in it, or could be read in two ways, may not.
"""

from mintmark.verifier.guard.app import Guard
from mintmark.verifier.guard.settings import Settings, SettingsUnsound, read_settings

__all__ = ["Guard", "Settings", "SettingsUnsound", "read_settings"]
