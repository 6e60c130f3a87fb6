"""Follows a stream with httpx-sse and prints what it sees, one JSON value a line.

The package parses one response; reconnecting is left to its users, so the loop here is what its documentation asks of them.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse


def tell(name, value=None):
    print(json.dumps([name, value]), flush=True)


def follow(client, url, token=None):
    last_id, retry = "", 0.1
    while True:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                if source.response.status_code != 200:
                    return
                tell("open")
                for event in source.iter_sse():
                    if event.retry is not None:
                        retry = event.retry / 1000
                        if not event.data:
                            continue
                    # Where the stream begins comes without data, and is handed out as an event all the same.
                    is_position = not last_id and not event.data
                    last_id = event.id
                    if is_position:
                        continue
                    tell("event", {"type": event.event, "data": event.data, "id": event.id})
        except httpx.TransportError:
            pass
        time.sleep(retry)


with httpx.Client(timeout=httpx.Timeout(10, read=None), trust_env=False) as client:
    follow(client, *sys.argv[1:])
tell("closed")
