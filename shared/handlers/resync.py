"""The whole base, from Omneo to Klaviyo: read page by page, compared with Klaviyo a hundred profiles a call, sent in bulk.

A job does one stretch and queues the next, so that live jobs have their turns between. How far a run has come is noted whenever an import
is on its way: what dies in between is read and sent again, which changes nothing. Consent is read moments before it is changed, and
historical: nobody is asked again and no welcome flow starts. When all imports are over, whoever changed meanwhile is synced once more.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.domain.resyncs import PageWork, Parcel, State, in_parts
from shared.errors import InvalidPayloadError, NotFoundError, RefusedError, WaitError
from shared.handlers.resync_page import Prepared, prepare
from shared.jobs import Resync
from shared.klaviyo.bulk import SUBSCRIBED_AT_ONCE, UNSUBSCRIBED_AT_ONCE, Subscriber
from shared.resyncs import Run
from shared.services import Services
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient
    from shared.omneo.client import OmneoClient

LEASE = timedelta(minutes=5)  # as long as a worker may run
STRETCH = timedelta(seconds=120)
PAGES_AT_ONCE = 10  # a thousand profiles: as many as one subscribe takes, read in a second or two
READERS = 8
FOLLOWED_AT_ONCE = 50
FOLLOW_SECONDS = 10.0
ANOTHER_RUNS_SECONDS = 10.0
MOST_RESENDS = 20
