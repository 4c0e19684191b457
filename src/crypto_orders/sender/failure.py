"""The one exception that travels inside the sender: why an attempt ended without a response."""

from crypto_orders.domain.delivery import SendError, SendErrorCode


class AttemptFailedError(Exception):
    """An attempt ended without a usable response; `error` is what the customer is shown."""

    def __init__(self, code: SendErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.error = SendError(code, detail)
