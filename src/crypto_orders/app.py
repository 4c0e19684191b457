"""Put the service together from its settings: the web process and the worker process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from socket import socket
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from crypto_orders.admin import routes as admin_pages
from crypto_orders.admin.services import AdminServices
from crypto_orders.api import account, checkout, operations, orders, problems, receipts, webhooks
from crypto_orders.api.account import AccountDeps
from crypto_orders.api.admin import accounts as admin_accounts
from crypto_orders.api.admin import actions, exports, lists
from crypto_orders.api.admin import orders as admin_orders
from crypto_orders.api.admin import webhooks as admin_webhooks
from crypto_orders.api.auth import SCOPES, Authenticator, AuthSettings
from crypto_orders.api.operations import OperationsServices
from crypto_orders.api.refused_calls import RefusedCalls
from crypto_orders.api.services import Services
from crypto_orders.checkout import payment_page
from crypto_orders.checkout.payment_page import PayServices
from crypto_orders.docs import routes as docs_pages
from crypto_orders.docs.library import Facts
from crypto_orders.docs.routes import DocsServices
from crypto_orders.domain import pay_link
from crypto_orders.domain.order import Rules
from crypto_orders.domain.rate_limit import Policy
from crypto_orders.domain.webhook_signature import header_family
from crypto_orders.domain.webhook_url import UrlPolicy
from crypto_orders.intake import notifications as intake
from crypto_orders.intake.notifications import IntakeServices
from crypto_orders.kit import openapi, server
from crypto_orders.kit.application import HttpApp
from crypto_orders.kit.encoding import encode_json
from crypto_orders.kit.http import Call, Endpoint, HeaderParameter, RouteGroup
from crypto_orders.kit.sealing import Sealer
from crypto_orders.pages import assets, home
from crypto_orders.pages.assets import Assets
from crypto_orders.pages.site import Site, Templates
from crypto_orders.provider import ProviderClient
from crypto_orders.sender.webhook_sender import WebhookSender
from crypto_orders.settings import Settings
from crypto_orders.store import keys
from crypto_orders.store.connection import Pool, open_pool
from crypto_orders.usecases import observed
from crypto_orders.usecases.access import NO_LIMITS, USUAL_TRIES, OperatorAccess
from crypto_orders.usecases.deployment import CheckoutTerms, Deployment, Webhooks
from crypto_orders.usecases.passwords import Hasher, Passwords
from crypto_orders.usecases.rate_limits import RateLimiter
from crypto_orders.workers.deliver_webhooks import Courier
from crypto_orders.workers.jobs import order_jobs, webhook_jobs
from crypto_orders.workers.loop import run_jobs

VERSION: Final = version("crypto-orders")

SEARCH_CONNECTIONS_MAX = 8
"""Searches are support's, few at a time; they never take the connections that checkouts need. Two exports at
once hold four of them."""

SEARCH_TIMEOUT_MS = 3_000


PAGE_PACKAGES: Final = ("pages", "admin", "checkout", "docs")
"""The packages whose static files browsers load."""

API_ENDPOINTS: Final[tuple[Endpoint[Any, Any, Any, Any], ...]] = (
    *checkout.ENDPOINTS,
    *orders.ENDPOINTS,
    *receipts.ENDPOINTS,
    *admin_orders.ENDPOINTS,
    *exports.ENDPOINTS,
    *actions.ENDPOINTS,
    *lists.ENDPOINTS,
    *admin_accounts.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *admin_webhooks.ENDPOINTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The web application, and the base of its problem types."""

    app: HttpApp
    type_base: str


@asynccontextmanager
async def web(settings: Settings, database_url: str, *, hasher: Hasher | None = None) -> AsyncGenerator[Web]:
    """The web application with its connections open, for as long as the context lasts.

    `hasher` makes the hashes of operators' passwords; without one they cost what RFC 9106 recommends.
    """
    async with (
        _deployment(settings, database_url, "crypto-orders-web") as deployment,
        webhooks_of(settings, deployment.pool) as sending,
        Passwords(hasher) as passwords,
    ):
        search_pool = await open_pool(
            database_url,
            size=SEARCH_CONNECTIONS_MAX,
            application_name="crypto-orders-search",
            settings={
                "plan_cache_mode": "force_custom_plan",
                "statement_timeout": str(SEARCH_TIMEOUT_MS),
            },
        )
        try:
            groups = route_groups(settings, deployment, search_pool, sending, passwords)
            type_base = settings.error_type_base or f"{settings.public_url}/docs/errors"
            app = HttpApp(
                groups,
                type_base=type_base,
                translate=problems.translate,
                trusted_proxies=settings.trusted_proxies,
            )
            yield Web(app=app, type_base=type_base)
        finally:
            await search_pool.close()


async def work(
    settings: Settings, database_url: str, stop: asyncio.Event, metrics_at: socket | None = None
) -> None:
    """Run the background jobs until `stop` is set, and tell on a bound socket what they count."""
    async with (
        _deployment(settings, database_url, "crypto-orders-worker") as deployment,
        webhooks_of(settings, deployment.pool) as sending,
        Courier(sending) as courier,
        _telling(settings, deployment.pool, metrics_at),
    ):
        jobs = order_jobs(
            deployment,
            reads_per_second=settings.provider_reads_per_second,
            sweep_every_minutes=settings.sweep_every_minutes,
            sweep_older_than_hours=settings.sweep_older_than_hours,
        )
        await run_jobs((*jobs, *webhook_jobs(courier)), stop)


@asynccontextmanager
async def _telling(settings: Settings, pool: Pool, bound: socket | None) -> AsyncGenerator[None]:
    """Answer a worker's few endpoints on a bound socket, if there is one."""
    if bound is None:
        yield
        return
    type_base = settings.error_type_base or f"{settings.public_url}/docs/errors"
    services = OperationsServices(
        pool=pool,
        metrics_token=settings.metrics_token.reveal() if settings.metrics_token else None,
        openapi=b"",
        sandbox=settings.sandbox,
    )
    group: RouteGroup[Any, Any] = operations.worker_routes(services)
    answers = server.make_server(
        HttpApp([group], type_base=type_base, translate=problems.translate), type_base=type_base
    )
    serving = asyncio.create_task(answers.serve(sockets=[bound]), name="worker metrics")
    try:
        yield
    finally:
        answers.should_exit = True
        await serving


def route_groups(
    settings: Settings,
    deployment: Deployment,
    search_pool: Pool,
    sending: Webhooks,
    passwords: Passwords,
) -> list[RouteGroup[Any, Any]]:
    """Every route of the service, with what it works with."""
    limiter = RateLimiter(deployment.pool)
    auth = _auth_settings(settings)
    authenticator = Authenticator(deployment.pool, limiter, auth, keys.find_key)
    services = Services(
        deployment=deployment,
        search_pool=search_pool,
        public_url=settings.public_url,
        brand_name=settings.brand_name,
        brand_slug=settings.brand_slug,
        key_prefix=settings.key_prefix,
        key_mode=auth.livemode,
        pay_link_key=sending.sealer.derive(pay_link.PURPOSE),
        webhooks=sending,
    )
    groups: list[RouteGroup[Any, Any]] = [
        account.routes(AccountDeps(pool=deployment.pool, settings=auth), authenticator),
        _api(services, authenticator, limiter),
        intake.routes(
            IntakeServices(
                deployment=deployment,
                ipn_secrets=tuple(s.reveal() for s in settings.nowpayments_ipn_secret),
                limiter=limiter,
                failure_policy=auth.failure_policy,
            )
        ),
    ]
    openapi_json = openapi_document(settings)
    site = site_of(settings)
    payer_services = PayServices(
        deployment=deployment,
        templates=Templates(site, "checkout"),
        limiter=limiter,
        policy=auth.failure_policy,
        keys=sending.sealer.derive_all(pay_link.PURPOSE),
    )
    access = OperatorAccess(
        pool=deployment.pool,
        passwords=passwords,
        limiter=limiter,
        sealer=sending.sealer,
        # Who lifts the limit on failures lifts the one on sign-ins, too.
        tries=USUAL_TRIES if auth.failure_policy.limits else NO_LIMITS,
    )
    return [
        *groups,
        operations.routes(_operations_services(settings, deployment.pool, openapi_json)),
        assets.routes(site.assets),
        home.routes(),
        docs_pages.routes(_docs_services(settings, site, openapi_json)),
        payment_page.routes(payer_services),
        admin_pages.routes(_admin_services(services, access, site, auth.customer_policy)),
    ]


def _api(services: Services, authenticator: Authenticator, limiter: RateLimiter) -> RouteGroup[Any, Any]:
    return RouteGroup(
        deps=services,
        endpoints=API_ENDPOINTS,
        authenticate=authenticator.authenticate,
        scopes=SCOPES,
        refused=RefusedCalls(services.pool, limiter).keep,
    )


def _operations_services(settings: Settings, pool: Pool, openapi_json: bytes) -> OperationsServices:
    return OperationsServices(
        pool=pool,
        metrics_token=settings.metrics_token.reveal() if settings.metrics_token else None,
        openapi=openapi_json,
        sandbox=settings.sandbox,
    )


def _admin_services(
    services: Services, access: OperatorAccess, site: Site, customer_policy: Policy
) -> AdminServices:
    return AdminServices(
        deployment=services.deployment,
        search_pool=services.search_pool,
        webhooks=services.webhooks,
        access=access,
        site=site,
        templates=Templates(site, "admin"),
        key_prefix=services.key_prefix,
        key_mode=services.key_mode,
        pay_link_key=services.pay_link_key,
        customer_policy=customer_policy,
    )


def site_of(settings: Settings) -> Site:
    """What every page of this deployment knows."""
    return Site(
        brand_name=settings.brand_name,
        brand_slug=settings.brand_slug,
        public_url=settings.public_url,
        sandbox=settings.sandbox,
        assets=Assets(PAGE_PACKAGES),
    )


def _docs_services(settings: Settings, site: Site, openapi_json: bytes) -> DocsServices:
    return DocsServices(
        site=site, facts=facts_of(settings), openapi=openapi_json, tries=not settings.is_production
    )


def facts_of(settings: Settings) -> Facts:
    """What the published pages tell of this deployment."""
    return Facts(
        brand_name=settings.brand_name,
        brand_slug=settings.brand_slug,
        header_prefix=settings.header_prefix,
        key_prefix=settings.key_prefix,
        key_mode="test" if settings.sandbox else "live",
        public_url=settings.public_url,
        error_type_base=settings.error_type_base,
        default_pay_currency=settings.default_pay_currency or "chosen by the payer on the page",
        pay_window_minutes=settings.pay_window_minutes,
        pay_tolerance_percent=settings.pay_tolerance_percent,
        open_orders_max=settings.open_orders_max,
        unpaid_orders_per_day_max=settings.unpaid_orders_per_day_max,
        sweep_every_minutes=settings.sweep_every_minutes,
        sweep_older_than_hours=settings.sweep_older_than_hours,
        idempotency_mismatch=settings.idempotency_mismatch,
        rate_limit_customer_capacity=settings.rate_limit_customer_capacity,
        rate_limit_customer_per_second=settings.rate_limit_customer_per_second,
        rate_limit_admin_capacity=settings.rate_limit_admin_capacity,
        rate_limit_admin_per_second=settings.rate_limit_admin_per_second,
    )


def openapi_document(settings: Settings) -> bytes:
    """The OpenAPI document of every documented endpoint, as JSON."""
    described: tuple[Endpoint[Any, Any, Any, Any], ...] = (*account.ENDPOINTS, *API_ENDPOINTS)
    keyed: RouteGroup[Any, Any] = RouteGroup(
        deps=None, endpoints=described, authenticate=_nobody, scopes=SCOPES
    )
    groups: list[RouteGroup[Any, Any]] = [keyed, RouteGroup(deps=None, endpoints=intake.ENDPOINTS)]
    return encode_json(
        openapi.document(
            groups,
            title=settings.brand_name,
            version=VERSION,
            server_url=settings.public_url,
            common_headers=(
                HeaderParameter(
                    f"{settings.header_prefix}Account", "Names the key's own account; any other is refused."
                ),
            ),
        )
    )


async def _nobody(call: Call[Any, Any, Any, Any], scope: str) -> NoReturn:
    """Stands where a running service authenticates: what is only described is never called."""
    raise AssertionError(call.route, scope)


@asynccontextmanager
async def _deployment(
    settings: Settings, database_url: str, application_name: str
) -> AsyncGenerator[Deployment]:
    pool = await open_pool(
        database_url, size=settings.database_connections_max, application_name=application_name
    )
    key = settings.nowpayments_api_key
    try:
        async with ProviderClient(
            settings.nowpayments_url, key.reveal() if key else "", observe=observed.provider_call
        ) as provider:
            yield Deployment(
                pool=pool,
                provider=provider,
                rules=Rules(
                    tolerance=settings.pay_tolerance_percent / 100,
                    pay_window=timedelta(minutes=settings.pay_window_minutes),
                ),
                terms=CheckoutTerms(
                    pay_window=timedelta(minutes=settings.pay_window_minutes),
                    default_coin=settings.default_pay_currency,
                    open_max=settings.open_orders_max,
                    per_day_max=settings.unpaid_orders_per_day_max,
                    mismatch_rejects=settings.idempotency_mismatch == "reject",
                    callback_url=f"{settings.public_url}{intake.PATH}",
                ),
            )
    finally:
        await pool.close()


@asynccontextmanager
async def webhooks_of(settings: Settings, pool: Pool) -> AsyncGenerator[Webhooks]:
    """What keeps and sends webhooks, with its connections to receivers, for as long as the context lasts."""
    own_host = (urlsplit(settings.public_url).hostname or "").lower()
    policy = UrlPolicy(
        allow_insecure=settings.allow_insecure_webhooks,
        own_hosts=frozenset({own_host}) if own_host else frozenset(),
    )
    async with WebhookSender(user_agent=f"{settings.brand_slug}-webhooks/1.0", policy=policy) as sender:
        yield Webhooks(
            pool=pool,
            sender=sender,
            sealer=_sealer(settings),
            policy=policy,
            header_family=header_family(settings.brand_slug),
        )


def _auth_settings(settings: Settings) -> AuthSettings:
    return AuthSettings(
        key_prefix=settings.key_prefix,
        livemode="test" if settings.sandbox else "live",
        account_header=f"{settings.header_prefix}Account".lower(),
        customer_policy=Policy(
            settings.rate_limit_customer_capacity, settings.rate_limit_customer_per_second
        ),
        admin_policy=Policy(settings.rate_limit_admin_capacity, settings.rate_limit_admin_per_second),
        failure_policy=Policy(settings.rate_limit_failure_capacity, settings.rate_limit_failure_per_second),
    )


def _sealer(settings: Settings) -> Sealer:
    if settings.sealing_key is None:
        message = "CRYPTO_ORDERS_SEALING_KEY is not set"
        raise ValueError(message)
    return Sealer(settings.sealing_key.reveal())
