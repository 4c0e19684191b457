"""What the sandbox process does: it plays the provider, and refuses to where money is real."""

from pathlib import Path

from crypto_orders import sandbox
from crypto_orders import settings as configuration
from crypto_orders.kit import log
from crypto_orders.kit.process import CannotStartError
from crypto_orders.settings import Settings


def serve_sandbox(settings: Settings, *, port: int, state_dir: Path, email: str) -> None:
    """Play the provider on loopback until SIGINT or SIGTERM.

    Its password for `POST /v1/auth` is the API key. Raises CannotStartError in production, or when there
    is no API key to ask for.
    """
    log.configure(level=settings.log_level, process="sandbox")
    if settings.is_production:
        sentence = "CRYPTO_ORDERS_ENV is production, where the sandbox does not run."
        raise CannotStartError(sentence, configuration.MISCONFIGURED_EXIT_CODE)
    if settings.nowpayments_api_key is None:
        sentence = "CRYPTO_ORDERS_NOWPAYMENTS_API_KEY is not set: the sandbox asks its clients for it."
        raise CannotStartError(sentence, configuration.MISCONFIGURED_EXIT_CODE)
    secrets = settings.nowpayments_ipn_secret
    config = sandbox.SandboxConfig(
        state_dir=state_dir,
        api_key=settings.nowpayments_api_key.reveal(),
        ipn_secret=secrets[0].reveal() if secrets else None,
        email=email,
        password=settings.nowpayments_api_key.reveal(),
    )
    sandbox.serve("127.0.0.1", port, config)
