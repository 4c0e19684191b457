-- The order core: accounts, keys, products, orders with their payments and events,
-- the inbox of provider facts, flags, idempotency, outgoing webhook events, audit, roll-ups.
--
-- Every tenant table leads its keys with account_id, so that it can be distributed by it;
-- global look-ups go through the small routing tables. Times are whole milliseconds.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- ------------------------------------------------------------------ accounts, keys, products

CREATE TABLE accounts (
    account_id uuid           NOT NULL PRIMARY KEY,
    name       text           NOT NULL CONSTRAINT name_is_short CHECK (char_length(name) BETWEEN 1 AND 200),
    tier       text           NOT NULL DEFAULT 'free'
                              CONSTRAINT tier_is_short CHECK (char_length(tier) BETWEEN 1 AND 40),
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp())
);

CREATE INDEX accounts_newest ON accounts (created_at, account_id);

-- Only a digest of a key is kept; an admin key belongs to no account.
CREATE TABLE api_keys (
    key_sha256 bytea          NOT NULL PRIMARY KEY CONSTRAINT digest_is_sha256 CHECK (octet_length(key_sha256) = 32),
    key_id     uuid           NOT NULL UNIQUE,
    account_id uuid           REFERENCES accounts,
    mode       text           NOT NULL CONSTRAINT mode_is_known CHECK (mode IN ('live', 'test', 'admin')),
    scopes     text[]         NOT NULL,
    label      text           CONSTRAINT label_is_short CHECK (char_length(label) <= 200),
    prefix     text           NOT NULL CONSTRAINT prefix_is_short CHECK (char_length(prefix) <= 24),
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    expires_at timestamptz(3),
    revoked_at timestamptz(3),
    CONSTRAINT only_admin_keys_lack_an_account CHECK ((mode = 'admin') = (account_id IS NULL))
);

CREATE INDEX api_keys_of_account ON api_keys (account_id, created_at, key_id);

CREATE TABLE products (
    product        text           NOT NULL PRIMARY KEY
                                  CONSTRAINT product_is_a_slug CHECK (product ~ '^[a-z0-9][a-z0-9_.-]{0,63}$'),
    price_cents    bigint         NOT NULL CONSTRAINT price_is_sane CHECK (price_cents BETWEEN 1 AND 100000000000),
    price_currency text           NOT NULL CONSTRAINT currency_is_iso CHECK (price_currency ~ '^[A-Z]{3}$'),
    active         boolean        NOT NULL DEFAULT true,
    updated_at     timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp())
);

INSERT INTO products (product, price_cents, price_currency)
VALUES ('solo_manual', 7900, 'USD'),
       ('team_manual', 24900, 'USD'),
       ('agency_manual', 69900, 'USD'),
       ('api_starter', 14900, 'USD'),
       ('api_builder', 49900, 'USD'),
       ('api_scale', 149900, 'USD');

-- Token buckets, leased to processes in slices; an override replaces a tier's default for one key.
CREATE TABLE rate_buckets (
    bucket_key text             NOT NULL PRIMARY KEY,
    tokens     double precision NOT NULL,
    updated_at timestamptz      NOT NULL
);

CREATE TABLE rate_overrides (
    key_id            uuid             NOT NULL PRIMARY KEY REFERENCES api_keys (key_id),
    capacity          integer          NOT NULL CONSTRAINT capacity_is_sane CHECK (capacity BETWEEN 0 AND 1000000),
    refill_per_second double precision NOT NULL CONSTRAINT refill_is_sane CHECK (refill_per_second > 0),
    expires_at        timestamptz(3)
);

-- ------------------------------------------------------------------ orders

-- How texts are written for the search by trigrams, which knows ASCII letters and digits alone: lower case,
-- other characters as letters and digits that stand for them. It goes character by character, so whatever
-- contains a needle also contains the needle's form; who finds by it compares the texts themselves again.
CREATE FUNCTION search_form(words text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(
               replace(replace(replace(replace(replace(replace(
                   encode(replace(lower(words COLLATE "default"), '\', '\\')::bytea, 'escape'),
               ' ', 'x'), '_', 'z'), '-', 'j'), '.', 'v'), ',', 'k'), '/', 'w'),
           '[^a-z0-9]', 'q', 'g');

CREATE TABLE orders (
    account_id     uuid           NOT NULL REFERENCES accounts,
    order_id       text COLLATE "C" NOT NULL
                                  CONSTRAINT order_id_is_ours CHECK (order_id ~ '^ord_[0-9a-hjkmnp-tv-z]{26}$'),
    product        text           NOT NULL,
    price_cents    bigint         NOT NULL CONSTRAINT price_is_sane CHECK (price_cents BETWEEN 1 AND 100000000000),
    price_currency text           NOT NULL CONSTRAINT currency_is_iso CHECK (price_currency ~ '^[A-Z]{3}$'),
    status         text           NOT NULL
                                  CONSTRAINT status_is_known
                                  CHECK (status IN ('pending', 'confirming', 'partial', 'paid', 'failed', 'cancelled')),
    version        integer        NOT NULL CONSTRAINT version_is_last_seq CHECK (version >= 1),
    payment_id     text COLLATE "C",
    customer_note  text           CONSTRAINT customer_note_is_short CHECK (char_length(customer_note) BETWEEN 1 AND 500),
    internal_note  text           CONSTRAINT internal_note_is_short CHECK (char_length(internal_note) BETWEEN 1 AND 2000),
    pay_currency   text,                      -- the coin asked for; null until the payer chooses
    -- The current payment's own, repeated here so that an export of all orders reads one table.
    payment_currency text,
    payment_amount numeric,
    payment_paid   numeric,
    window_ends_at timestamptz(3) NOT NULL,
    created_at     timestamptz(3) NOT NULL,
    updated_at     timestamptz(3) NOT NULL,
    paid_at        timestamptz(3),
    mint_due_at    timestamptz(3),            -- when a worker may complete the minting; null: nothing to do
    looked_at      timestamptz(3),            -- when a sweep last looked
    -- Products are few and are found by their own index: here each would be met in a tenth of all orders.
    search         text           NOT NULL GENERATED ALWAYS AS (
                       search_form(order_id || ' ' || coalesce(customer_note, ''))) STORED,
    PRIMARY KEY (account_id, order_id),
    CONSTRAINT paid_has_evidence
        CHECK ((status = 'paid') = (paid_at IS NOT NULL) AND (status <> 'paid' OR payment_id IS NOT NULL))
);

CREATE INDEX orders_of_account ON orders (account_id, created_at, order_id);
CREATE INDEX orders_newest     ON orders (created_at, order_id);
CREATE INDEX orders_by_status  ON orders (status, created_at, order_id);
CREATE INDEX orders_by_product ON orders (product, created_at, order_id);
CREATE INDEX orders_open       ON orders (account_id) WHERE status = 'pending';
CREATE INDEX orders_to_mint    ON orders (mint_due_at) WHERE mint_due_at IS NOT NULL;
CREATE INDEX orders_search     ON orders USING gin (search gin_trgm_ops) WITH (fastupdate = on);

CREATE TABLE order_routes (
    order_id   text COLLATE "C" NOT NULL PRIMARY KEY,
    account_id uuid             NOT NULL
);

CREATE TABLE order_events (
    account_id uuid             NOT NULL,
    order_id   text COLLATE "C" NOT NULL,
    seq        integer          NOT NULL CONSTRAINT seq_starts_at_one CHECK (seq >= 1),
    status     text             NOT NULL
                                CONSTRAINT status_is_known
                                CHECK (status IN ('pending', 'confirming', 'partial', 'paid', 'failed', 'cancelled')),
    source     text             NOT NULL
                                CONSTRAINT source_is_known CHECK (source IN ('create', 'ipn', 'cancel', 'expired', 'swept')),
    via        text             CONSTRAINT via_is_known CHECK (via IN ('ipn', 'poll', 'operator')),
    actor      text             CONSTRAINT actor_is_short CHECK (char_length(actor) <= 200),
    at         timestamptz(3)   NOT NULL,
    detail     jsonb            NOT NULL,
    PRIMARY KEY (account_id, order_id, seq),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    CONSTRAINT create_comes_first CHECK ((source = 'create') = (seq = 1)),
    CONSTRAINT facts_say_their_way CHECK ((source = 'ipn') = (via IS NOT NULL)),
    CONSTRAINT operators_are_named CHECK (via <> 'operator' OR (actor IS NOT NULL AND detail ? 'reason'))
);

-- ------------------------------------------------------------------ payments

CREATE TABLE payments (
    account_id            uuid             NOT NULL,
    order_id              text COLLATE "C" NOT NULL,
    payment_id            text COLLATE "C" NOT NULL
                                           CONSTRAINT payment_id_is_short CHECK (char_length(payment_id) BETWEEN 1 AND 128),
    parent_payment_id     text COLLATE "C",
    origin                text             NOT NULL
                                           CONSTRAINT origin_is_known CHECK (origin IN ('minted', 'mismatched', 'adopted', 'child')),
    pay_address           text,
    pay_currency          text,
    pay_amount            numeric,
    payin_extra_id        text,
    network               text,
    provider_status       text             NOT NULL,
    best_rank             smallint         NOT NULL,
    money_seen            boolean          NOT NULL,
    actually_paid         numeric,
    actually_paid_at_fiat numeric,
    outcome_amount        numeric,
    outcome_currency      text,
    payin_hash            text,
    payout_hash           text,
    valid_until           timestamptz(3)   NOT NULL,
    created_at            timestamptz(3)   NOT NULL,
    changed_at            timestamptz(3)   NOT NULL,
    snapshot              jsonb,           -- the provider's own last answer
    snapshot_at           timestamptz(3),
    asked_at              timestamptz(3),
    ask_at                timestamptz(3),  -- when the reconciler asks next; null: its life is over
    ask_lease_until       timestamptz(3),
    ask_attempt           integer          NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, payment_id),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    CONSTRAINT children_have_parents CHECK ((origin = 'child') = (parent_payment_id IS NOT NULL))
);

CREATE INDEX payments_of_order ON payments (account_id, order_id, created_at);
CREATE INDEX payments_to_ask   ON payments (ask_at) WHERE ask_at IS NOT NULL;

CREATE TABLE payment_routes (
    payment_id text COLLATE "C" NOT NULL PRIMARY KEY,
    account_id uuid             NOT NULL,
    order_id   text COLLATE "C" NOT NULL
);

-- One row before every create call, so that no call is ever forgotten.
CREATE TABLE provider_attempts (
    account_id   uuid             NOT NULL,
    order_id     text COLLATE "C" NOT NULL,
    attempt_no   integer          NOT NULL CONSTRAINT attempts_count_from_one CHECK (attempt_no >= 1),
    pay_currency text             NOT NULL,
    state        text             NOT NULL
                                  CONSTRAINT state_is_known
                                  CHECK (state IN ('sent', 'minted', 'mismatched', 'refused', 'not_made', 'unknown')),
    reason       text             CONSTRAINT reason_is_short CHECK (char_length(reason) <= 500),
    payment_id   text COLLATE "C",
    started_at   timestamptz(3)   NOT NULL,
    settled_at   timestamptz(3),
    PRIMARY KEY (account_id, order_id, attempt_no),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    CONSTRAINT settled_when_not_in_flight CHECK ((state = 'sent') = (settled_at IS NULL))
);

-- ------------------------------------------------------------------ the inbox of provider facts

-- Signed notifications, the provider's own answers, and operators' claims; the same
-- canonical form coming again counts up. Verdicts settle beside the raw bytes.
CREATE TABLE notifications (
    notification_id uuid           NOT NULL PRIMARY KEY,
    via             text           NOT NULL CONSTRAINT via_is_known CHECK (via IN ('ipn', 'poll', 'operator')),
    digest          bytea          NOT NULL CONSTRAINT digest_is_sha256 CHECK (octet_length(digest) = 32),
    body            bytea          NOT NULL CONSTRAINT body_is_bounded CHECK (octet_length(body) <= 262144),
    matched_form    text           CONSTRAINT form_is_known CHECK (matched_form IN ('raw', 'canonical')),
    payment_id      text COLLATE "C",
    payment_status  text,
    claimed_order_id text,
    account_id      uuid,
    order_id        text COLLATE "C",
    actor           text,
    reason          text,
    verdict         text           NOT NULL DEFAULT 'received'
                                   CONSTRAINT verdict_is_known
                                   CHECK (verdict IN ('received', 'waiting', 'applied', 'no_change', 'flagged',
                                                      'superseded', 'unknown_status', 'unmatched', 'malformed')),
    why             text,
    received_at     timestamptz(3) NOT NULL,
    last_seen_at    timestamptz(3) NOT NULL,
    times_seen      bigint         NOT NULL DEFAULT 1,
    settled_at      timestamptz(3),
    try_at          timestamptz(3),           -- when a worker tries next; null: settled
    tries           integer        NOT NULL DEFAULT 0,
    UNIQUE (via, digest),
    CONSTRAINT signed_when_an_ipn CHECK ((via = 'ipn') = (matched_form IS NOT NULL)),
    CONSTRAINT open_ones_are_tried CHECK ((verdict IN ('received', 'waiting')) = (try_at IS NOT NULL))
);

CREATE INDEX notifications_to_try     ON notifications (try_at) WHERE try_at IS NOT NULL;
CREATE INDEX notifications_claims    ON notifications (claimed_order_id)
    WHERE try_at IS NOT NULL AND claimed_order_id IS NOT NULL;
CREATE INDEX notifications_newest     ON notifications (received_at, notification_id);
CREATE INDEX notifications_by_verdict ON notifications (verdict, received_at, notification_id)
    WHERE verdict IN ('waiting', 'flagged', 'superseded', 'unknown_status', 'unmatched', 'malformed');
CREATE INDEX notifications_of_payment ON notifications (payment_id, received_at, notification_id);
CREATE INDEX notifications_of_order   ON notifications (order_id, received_at, notification_id)
    WHERE order_id IS NOT NULL;

-- ------------------------------------------------------------------ flags

-- A flag that concerns no order carries the nil account; subject is the payment, else the notification.
CREATE TABLE flags (
    account_id   uuid             NOT NULL,
    flag_id      uuid             NOT NULL,
    kind         text             NOT NULL
                                  CONSTRAINT kind_is_known
                                  CHECK (kind IN ('late_payment', 'failed_with_money', 'reversed_after_paid', 'overpaid',
                                                  'order_mismatch', 'amount_mismatch', 'wrong_asset', 'redeposit',
                                                  'payment_adopted', 'unmatched', 'unknown_status',
                                                  'provider_mismatch', 'stuck')),
    subject      text COLLATE "C" NOT NULL,
    payment_id   text COLLATE "C",
    order_id     text COLLATE "C",
    state        text             NOT NULL CONSTRAINT state_is_known CHECK (state IN ('open', 'resolved')),
    fingerprints text[]           NOT NULL,   -- what was flagged already: "<status>:<amount>"
    evidence     jsonb            NOT NULL,   -- the newest facts, oldest first, at most twenty
    opened_at    timestamptz(3)   NOT NULL,
    last_seen_at timestamptz(3)   NOT NULL,
    times_seen   integer          NOT NULL DEFAULT 1,
    resolution   text             CONSTRAINT resolution_is_known CHECK (resolution IN ('honour', 'credited', 'dismissed')),
    reason       text             CONSTRAINT reason_is_short CHECK (char_length(reason) BETWEEN 1 AND 2000),
    reference    text             CONSTRAINT reference_is_short CHECK (char_length(reference) BETWEEN 1 AND 200),
    resolved_at  timestamptz(3),
    resolved_by  text,
    PRIMARY KEY (account_id, flag_id),
    CONSTRAINT resolved_says_how
        CHECK ((state = 'resolved') = (resolution IS NOT NULL AND reason IS NOT NULL
                                       AND resolved_at IS NOT NULL AND resolved_by IS NOT NULL)),
    CONSTRAINT credits_name_their_reference CHECK (resolution <> 'credited' OR reference IS NOT NULL)
);

CREATE UNIQUE INDEX flags_one_open ON flags (account_id, kind, subject) WHERE state = 'open';
CREATE INDEX flags_by_id           ON flags (flag_id);
CREATE INDEX flags_by_subject      ON flags (account_id, kind, subject);
CREATE INDEX flags_of_order        ON flags (account_id, order_id);
CREATE INDEX flags_by_age          ON flags (state, opened_at, flag_id);
CREATE INDEX flags_by_kind         ON flags (kind, state, opened_at, flag_id);

-- ------------------------------------------------------------------ idempotency

CREATE TABLE idempotency_keys (
    account_id      uuid             NOT NULL REFERENCES accounts,
    idempotency_key text COLLATE "C" NOT NULL
                                     CONSTRAINT key_is_bounded CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    order_id        text COLLATE "C" NOT NULL,
    fingerprint     jsonb            NOT NULL,
    created_at      timestamptz(3)   NOT NULL,
    PRIMARY KEY (account_id, idempotency_key),
    FOREIGN KEY (account_id, order_id) REFERENCES orders
);

CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at, account_id);

CREATE TABLE idempotency_replays (
    account_id       uuid             NOT NULL REFERENCES accounts,
    replay_id        uuid             NOT NULL,
    idempotency_key  text COLLATE "C" NOT NULL,
    order_id         text COLLATE "C" NOT NULL,
    differing_fields text[]           NOT NULL,
    answered         boolean          NOT NULL,   -- false: refused because of the differing fields
    at               timestamptz(3)   NOT NULL,
    PRIMARY KEY (account_id, replay_id)
);

CREATE INDEX idempotency_replays_by_time ON idempotency_replays (at, account_id);

-- ------------------------------------------------------------------ outgoing webhook events

CREATE TABLE webhook_events (
    account_id uuid             NOT NULL,
    event_id   uuid             NOT NULL,
    order_id   text COLLATE "C",
    event_type text             NOT NULL
                                CONSTRAINT type_is_known
                                CHECK (event_type IN ('crypto.order.paid', 'crypto.order.failed', 'test.ping')),
    body       bytea            NOT NULL,
    created_at timestamptz(3)   NOT NULL,
    fan_out_at timestamptz(3),              -- due for fan-out to endpoints; null: done
    PRIMARY KEY (account_id, event_id),
    FOREIGN KEY (account_id, order_id) REFERENCES orders,
    UNIQUE (account_id, order_id, event_type),
    CONSTRAINT order_events_have_orders CHECK ((event_type = 'test.ping') = (order_id IS NULL))
);

CREATE INDEX webhook_events_to_fan_out ON webhook_events (fan_out_at) WHERE fan_out_at IS NOT NULL;

-- ------------------------------------------------------------------ audit

CREATE TABLE audit_log (
    audit_id    uuid           NOT NULL PRIMARY KEY,
    at          timestamptz(3) NOT NULL,
    actor       text           NOT NULL,
    remote_addr text,
    request_id  text,
    action      text           NOT NULL,
    target      text,
    account_id  uuid,
    request     jsonb          NOT NULL,
    result      text           NOT NULL,
    detail      jsonb          NOT NULL
);

CREATE INDEX audit_log_newest    ON audit_log (at, audit_id);
CREATE INDEX audit_log_of_target ON audit_log (target, at, audit_id);

-- ------------------------------------------------------------------ roll-ups

-- Deltas are appended in the transaction they count and folded into the totals by a job:
-- a reader adds both in one snapshot and is always exact.
CREATE TABLE order_deltas (
    delta_id       uuid     NOT NULL PRIMARY KEY,
    created_on     date     NOT NULL,
    status         text     NOT NULL,
    product        text     NOT NULL,
    price_currency text     NOT NULL,
    orders         integer  NOT NULL,
    price_cents    bigint   NOT NULL,
    paid_ms        bigint   NOT NULL
);

-- By the day of creation; `order_grand_totals` is the same over all days, which would be many to add up.
CREATE TABLE order_totals (
    created_on     date   NOT NULL,
    status         text   NOT NULL,
    product        text   NOT NULL,
    price_currency text   NOT NULL,
    orders         bigint NOT NULL,
    price_cents    bigint NOT NULL,
    paid_ms        bigint NOT NULL,
    PRIMARY KEY (created_on, status, product, price_currency)
);

CREATE TABLE order_grand_totals (
    status         text   NOT NULL,
    product        text   NOT NULL,
    price_currency text   NOT NULL,
    orders         bigint NOT NULL,
    price_cents    bigint NOT NULL,
    paid_ms        bigint NOT NULL,
    PRIMARY KEY (status, product, price_currency)
);
