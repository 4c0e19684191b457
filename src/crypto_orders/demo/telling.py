"""Tells how to use the running demo: a box for people, a JSON file for programs."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from crypto_orders.demo.guests import Guests, Operator
from crypto_orders.kit.private_file import write_privately


class Origins(NamedTuple):
    """Where the service and the sandbox answer: scheme, host and port."""

    base_url: str
    sandbox_url: str


class Secrets(NamedTuple):
    """What the service shares with the sandbox. Neither is shown in the box."""

    ipn_secret: str
    provider_api_key: str


def write_ready_file(
    path: Path,
    *,
    origins: Origins,
    guests: Guests,
    operator: Operator,
    secrets: Secrets,
    database_url: str,
    pids: Mapping[str, int | None],
) -> None:
    """Write everything a program needs to use the demo, atomically and for this user's eyes only."""
    told = {
        "base_url": origins.base_url,
        "sandbox_url": origins.sandbox_url,
        "operator": operator._asdict(),
        "admin_key": guests.admin_key,
        "customer_key": guests.customer_key,
        "customer_account_id": guests.customer_account_id,
        "second_customer_key": guests.second_customer_key,
        "ipn_secret": secrets.ipn_secret,
        "provider_api_key": secrets.provider_api_key,
        "database_url": database_url,
        "pids": {name: pids[name] for name in ("postgres", "web", "workers", "sandbox")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_privately(path, json.dumps(told, indent=2) + "\n")


def show_box(
    origins: Origins, guests: Guests, operator: Operator, *, data_dir: Path, database_home: Path
) -> None:
    """Show people where everything is and a first call to try."""
    places = [data_dir]
    if not database_home.is_relative_to(data_dir):
        places.append(database_home)
    curl = (
        f"curl -s {origins.base_url}/v1/billing/crypto-checkout"
        f" -H 'Authorization: Bearer {guests.customer_key}'"
        """ -H 'Content-Type: application/json' -d '{"product": "solo_manual"}'"""
    )
    reset = shlex.join(["rm", "-rf", *map(str, places)])
    lines = [
        "Crypto Orders is running.",
        "",
        f"  service          {origins.base_url}",
        f"  sandbox          {origins.sandbox_url}  (plays the payment provider)",
        f"  admin pages      {origins.base_url}/admin",
        f"  sign in as       {operator.email}",
        f"  with password    {operator.password}",
        f"  admin key        {guests.admin_key}",
        f"  customer key     {guests.customer_key}",
        f"  customer         {guests.customer_account_id}",
        f"  second customer  {guests.second_customer_key}",
        f"  data             {' and '.join(map(str, places))}",
        "",
        "Start an order:",
        f"  {curl}",
        "",
        "Stop with Ctrl-C; the next start goes on with the same data and keys.",
        f"Start afresh, when stopped: {reset}",
    ]
    width = max(len(line) for line in lines if "curl" not in line)
    rule = "─" * width
    sys.stdout.write("\n".join([rule, *lines, rule]) + "\n")
    sys.stdout.flush()
