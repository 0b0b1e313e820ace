# SPDX-License-Identifier: Apache-2.0
"""Pods that keep coming, whatever becomes of the API server."""

import http.client
import threading
import time

from .api import Api, ApiError, PODS, Object
from .objects import shares

MOST_PODS = 2400
PATIENCE = 90.0


class Burst(threading.Thread):
    """Creates pods, a hundred a second, until told to stop, but at least `least`. A creation that fails because nobody answers is tried again.

    With `most_waiting` none while so many are not bound, so that there are still some to bind however long the trouble lasts."""

    def __init__(self, api: Api, least: int = 0, most_waiting: int | None = None) -> None:
        super().__init__()
        self._api = api
        self._least = least
        self._most_waiting = most_waiting
        self._stop_asked = threading.Event()
        self._created = 0
        self.retried = 0
        self._fault: BaseException | None = None

    def run(self) -> None:
        try:
            while self._created < self._least or (self._created < MOST_PODS and not self._stop_asked.is_set()):
                time.sleep(0.2)
                if self._too_many_wait():
                    continue
                for pod in shares(20, first=self._created, gpu=1, gpumem=100):
                    self._create(pod)
                self._created += 20
        except BaseException as fault:  # reported by the test's own thread
            self._fault = fault

    def _too_many_wait(self) -> bool:
        if self._most_waiting is None:
            return False
        try:
            return len(self._api.pods("spec.nodeName=")) >= self._most_waiting
        except (ApiError, OSError, http.client.HTTPException):
            return True

    def finish(self) -> set[str]:
        """Names of all that were created."""
        self._stop_asked.set()
        self.join()
        if self._fault:
            raise self._fault
        return {f"p-{index:04}" for index in range(self._created)}

    def _create(self, pod: Object) -> None:
        deadline, lost = time.monotonic() + PATIENCE, False
        while not self._created_now(pod, lost):
            assert time.monotonic() < deadline, f"{pod['metadata']['name']} cannot be created"
            lost = True
            self.retried += 1
            time.sleep(0.1)

    def _created_now(self, pod: Object, lost: bool) -> bool:
        """`lost`: an answer was lost before, so that the pod may be there already."""
        try:
            self._api.call("POST", PODS, pod)
        except ApiError as error:
            if error.status == 409 and lost:
                return True
            if error.status < 500 and error.status != 429:
                raise
            return False
        except (OSError, http.client.HTTPException):
            return False
        return True
