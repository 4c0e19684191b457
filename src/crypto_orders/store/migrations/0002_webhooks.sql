-- Customers' webhook endpoints, one delivery for each event and endpoint, and every attempt at one.

-- A deleted endpoint is kept for its history. Secrets are sealed by the service; their prefixes are shown.
CREATE TABLE webhook_endpoints (
    account_id           uuid           NOT NULL REFERENCES accounts,
    endpoint_id          uuid           NOT NULL,
    url                  text           NOT NULL CONSTRAINT url_is_short CHECK (char_length(url) BETWEEN 1 AND 2048),
    events               text[]         NOT NULL
                                        CONSTRAINT events_are_subscribable
                                        CHECK (cardinality(events) BETWEEN 1 AND 10
                                               AND events <@ ARRAY['crypto.order.paid', 'crypto.order.failed']),
    description          text           CONSTRAINT description_is_short
                                        CHECK (char_length(description) BETWEEN 1 AND 200),
    active               boolean        NOT NULL DEFAULT true,
    secret_prefix        text           NOT NULL,
    secret_sealed        bytea          NOT NULL,
    prev_secret_prefix   text,
    prev_secret_sealed   bytea,
    grace_expires_at     timestamptz(3),             -- until then the previous secret signs, too
    consecutive_failures integer        NOT NULL DEFAULT 0
                                        CONSTRAINT failures_are_counted CHECK (consecutive_failures >= 0),
    last_success_at      timestamptz(3),
    last_failure_at      timestamptz(3),
    disabled_at          timestamptz(3),
    disabled_reason      text,
    deleted_at           timestamptz(3),
    created_at           timestamptz(3) NOT NULL,
    PRIMARY KEY (account_id, endpoint_id),
    CONSTRAINT previous_secrets_have_a_grace
        CHECK ((prev_secret_sealed IS NULL) = (grace_expires_at IS NULL)
               AND (prev_secret_sealed IS NULL) = (prev_secret_prefix IS NULL)),
    CONSTRAINT disabled_says_why CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CONSTRAINT disabled_and_deleted_are_inactive
        CHECK (NOT active OR (disabled_at IS NULL AND deleted_at IS NULL))
);

CREATE INDEX webhook_endpoints_of_account ON webhook_endpoints (account_id, created_at, endpoint_id);
CREATE INDEX webhook_endpoints_newest     ON webhook_endpoints (created_at, endpoint_id);
CREATE INDEX webhook_endpoints_by_id      ON webhook_endpoints (endpoint_id);

-- While an attempt is in flight, due_at is the end of its lease, and attempt_no is the fencing token:
-- only the attempt that was claimed last settles its delivery.
CREATE TABLE webhook_deliveries (
    account_id            uuid           NOT NULL,
    delivery_id           uuid           NOT NULL,
    endpoint_id           uuid           NOT NULL,
    event_id              uuid           NOT NULL,
    event_type            text           NOT NULL,
    status                text           NOT NULL
                                         CONSTRAINT status_is_known
                                         CHECK (status IN ('pending', 'in_flight', 'delivered', 'failed', 'dlq')),
    attempts              integer        NOT NULL DEFAULT 0,   -- since the last replay
    attempt_no            integer        NOT NULL DEFAULT 0,   -- of all time
    due_at                timestamptz(3),                      -- null: nothing is due
    last_attempt_at       timestamptz(3),
    last_response_status  integer,
    last_response_excerpt text           CONSTRAINT excerpt_is_short CHECK (char_length(last_response_excerpt) <= 512),
    last_error            text           CONSTRAINT error_is_short CHECK (char_length(last_error) <= 500),
    delivered_at          timestamptz(3),
    replayed_at           timestamptz(3),
    created_at            timestamptz(3) NOT NULL,
    PRIMARY KEY (account_id, delivery_id),
    UNIQUE (account_id, endpoint_id, event_id),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES webhook_endpoints,
    FOREIGN KEY (account_id, event_id) REFERENCES webhook_events,
    CONSTRAINT attempts_are_counted CHECK (attempts BETWEEN 0 AND attempt_no),
    CONSTRAINT flights_have_a_lease CHECK (status <> 'in_flight' OR (due_at IS NOT NULL AND last_attempt_at IS NOT NULL)),
    CONSTRAINT ended_ones_are_not_due CHECK (status NOT IN ('delivered', 'dlq') OR due_at IS NULL),
    CONSTRAINT delivered_says_when CHECK ((status = 'delivered') = (delivered_at IS NOT NULL))
);

CREATE INDEX webhook_deliveries_due         ON webhook_deliveries (account_id, endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_of_endpoint ON webhook_deliveries (account_id, endpoint_id, created_at, delivery_id);
CREATE INDEX webhook_deliveries_by_status   ON webhook_deliveries (account_id, endpoint_id, status, created_at, delivery_id);
CREATE INDEX webhook_deliveries_of_event    ON webhook_deliveries (account_id, event_id);
CREATE INDEX webhook_deliveries_by_id       ON webhook_deliveries (delivery_id);
CREATE INDEX webhook_deliveries_dead        ON webhook_deliveries (created_at, delivery_id) WHERE status = 'dlq';

-- A row precedes its request; one without an end belongs to a worker that died or is still at it.
CREATE TABLE webhook_attempts (
    account_id  uuid           NOT NULL,
    delivery_id uuid           NOT NULL,
    attempt_no  integer        NOT NULL CONSTRAINT attempts_count_from_one CHECK (attempt_no >= 1),
    started_at  timestamptz(3) NOT NULL,
    elapsed_ms  integer,
    status      integer,
    error       text           CONSTRAINT error_is_short CHECK (char_length(error) <= 500),
    excerpt     text           CONSTRAINT excerpt_is_short CHECK (char_length(excerpt) <= 512),
    dialled_ip  inet,
    PRIMARY KEY (account_id, delivery_id, attempt_no),
    FOREIGN KEY (account_id, delivery_id) REFERENCES webhook_deliveries
);
