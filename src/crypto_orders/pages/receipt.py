"""The receipt of an order, and its writing as plain text and as a one-page PDF that say the same."""

from datetime import datetime

from msgspec import Struct

from crypto_orders.domain.order import Order
from crypto_orders.kit import clock
from crypto_orders.kit.encoding import Instant

PDF_LABEL_MM = 45
PDF_LINE_MM = 8


class Receipt(Struct, frozen=True, kw_only=True):
    """What was bought and whether it is paid; issued when it was paid, before that when it is asked for."""

    order_id: str
    issued_at: Instant
    status: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    paid_at: Instant | None
    created_at: Instant


def receipt_of(order: Order, now: datetime) -> Receipt:
    """The receipt of an order in any status."""
    return Receipt(
        order_id=order.order_id,
        issued_at=order.paid_at or now,
        status=order.status.value,
        product=order.product,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        payment_id=order.payment_id,
        paid_at=order.paid_at,
        created_at=order.created_at,
    )


def lines_of(receipt: Receipt) -> list[tuple[str, str]]:
    """The receipt as labels and texts, in the order of its fields; what there is not is a dash."""
    whole, cents = divmod(receipt.price_cents, 100)
    return [
        ("Order", receipt.order_id),
        ("Issued", clock.to_iso(receipt.issued_at)),
        ("Status", receipt.status),
        ("Product", receipt.product),
        ("Price", f"{whole}.{cents:02d} {receipt.price_currency}"),
        ("Payment", receipt.payment_id or "-"),
        ("Paid", clock.to_iso(receipt.paid_at) if receipt.paid_at else "-"),
        ("Created", clock.to_iso(receipt.created_at)),
    ]


def as_text(receipt: Receipt, brand: str) -> str:
    """The receipt as plain text, a line a field."""
    return f"{brand}: receipt\n\n" + "".join(
        f"{label + ':':<9} {text}\n" for label, text in lines_of(receipt)
    )


def as_pdf(receipt: Receipt, brand: str) -> bytes:
    """The receipt as a PDF of one page."""
    from fpdf import FPDF  # noqa: PLC0415 - half of a process's start, for what few ask

    pdf = FPDF(format="A4")
    pdf.set_title(f"Receipt {receipt.order_id}")
    pdf.set_creation_date(receipt.issued_at)
    pdf.add_page()
    pdf.set_font("Helvetica", style="B", size=16)
    pdf.cell(text=_latin(f"{brand}: receipt"), new_x="LMARGIN", new_y="NEXT", h=PDF_LINE_MM * 2)
    for label, text in lines_of(receipt):
        pdf.set_font("Helvetica", style="B", size=11)
        pdf.cell(w=PDF_LABEL_MM, h=PDF_LINE_MM, text=label)
        pdf.set_font("Helvetica", size=11)
        pdf.cell(h=PDF_LINE_MM, text=_latin(text), new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _latin(text: str) -> str:
    """The built-in fonts know Latin-1; a brand in another script is shown with question marks."""
    return text.encode("latin-1", "replace").decode("latin-1")
