"""nginx and HAProxy in front of two nodes, each with its file under ``deploy/authority/``."""

import contextlib
import http.client
import queue
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretBytes
from tests.e2e.test_feed import Reader, basic
from tests.support.feed import PATH as FEED
from tests.support.fronts import ISSUER, Cluster, Front, Got, front
from tests.support.installation import Installation, authorize_url, install_into
from tests.support.raw_http import Conversation, RawServer, answer
from tests.unit.cli.processes import free_port

from mintmark import bootstrap
from mintmark.config import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
