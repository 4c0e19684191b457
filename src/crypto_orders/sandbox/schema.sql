-- The sandbox's own state. Amounts are exact decimals as text, instants epoch milliseconds.

CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS payments (
    payment_id          INTEGER PRIMARY KEY,
    purchase_id         INTEGER NOT NULL,
    parent_payment_id   INTEGER,
    invoice_id          INTEGER,
    payment_status      TEXT NOT NULL,
    order_id            TEXT,
    order_description   TEXT,
    customer_email      TEXT,
    price_amount        TEXT NOT NULL,
    price_currency      TEXT NOT NULL,
    pay_amount          TEXT NOT NULL,
    pay_currency        TEXT NOT NULL,
    received            TEXT NOT NULL,
    actually_paid       TEXT NOT NULL,
    pay_address         TEXT NOT NULL,
    payin_extra_id      TEXT,
    outcome_currency    TEXT NOT NULL,
    ipn_callback_url    TEXT,
    origin_ip           TEXT,
    is_fixed_rate       INTEGER NOT NULL,
    is_fee_paid_by_user INTEGER NOT NULL,
    walk                TEXT NOT NULL,
    step_due_ms         INTEGER,
    created_ms          INTEGER NOT NULL,
    updated_ms          INTEGER NOT NULL,
    estimate_until_ms   INTEGER NOT NULL,
    valid_until_ms      INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS payments_by_time   ON payments (created_ms, payment_id);
CREATE INDEX IF NOT EXISTS payments_by_order  ON payments (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_by_parent ON payments (parent_payment_id) WHERE parent_payment_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_walking   ON payments (step_due_ms) WHERE step_due_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_waiting   ON payments (valid_until_ms) WHERE payment_status = 'waiting';

CREATE TABLE IF NOT EXISTS invoices (
    invoice_id INTEGER PRIMARY KEY,
    document   TEXT NOT NULL
);

-- Notifications that were not answered with 2xx yet.
CREATE TABLE IF NOT EXISTS ipns (
    ipn_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id INTEGER NOT NULL,
    url        TEXT NOT NULL,
    body       BLOB NOT NULL,
    signature  TEXT NOT NULL,
    copies     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    due_ms     INTEGER NOT NULL
);
