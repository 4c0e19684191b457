-- The whole schema, as all migrations together make it. Written by `make schema`: read it, change migrations.

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE FUNCTION public.search_form(words text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(replace(replace(replace(replace(replace(replace(encode((replace(lower((words COLLATE "default")), '\'::text, '\\'::text))::bytea, 'escape'::text), ' '::text, 'x'::text), '_'::text, 'z'::text), '-'::text, 'j'::text), '.'::text, 'v'::text), ','::text, 'k'::text), '/'::text, 'w'::text), '[^a-z0-9]'::text, 'q'::text, 'g'::text);

CREATE FUNCTION public.tidy_orders_search() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public'
    AS $$ SELECT gin_clean_pending_list(to_regclass('public.orders_search')) $$;

CREATE FUNCTION public.unpaid_orders(of_account uuid, open_max integer, per_day_max integer, OUT open_orders bigint, OUT unpaid_today bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
    open_orders := 0;
    unpaid_today := 0;
    IF open_max > 0 OR per_day_max > 0 THEN
        PERFORM FROM accounts WHERE account_id = of_account FOR NO KEY UPDATE;
    END IF;
    IF open_max > 0 THEN
        SELECT count(*) INTO open_orders
          FROM (SELECT FROM orders WHERE account_id = of_account AND status = 'pending' LIMIT open_max) AS x;
    END IF;
    IF per_day_max > 0 THEN
        SELECT count(*) INTO unpaid_today
          FROM (SELECT FROM orders
                 WHERE account_id = of_account AND created_at > clock_timestamp() - interval '24 hours'
                   AND status IN ('pending', 'cancelled', 'failed')
                 LIMIT per_day_max) AS x;
    END IF;
END
$$;

CREATE TABLE public.accounts (
    account_id uuid NOT NULL,
    name text NOT NULL,
    tier text DEFAULT 'free'::text NOT NULL,
    created_at timestamp(3) with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
    CONSTRAINT name_is_short CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tier_is_short CHECK (((char_length(tier) >= 1) AND (char_length(tier) <= 40)))
);

CREATE TABLE public.api_keys (
    key_sha256 bytea NOT NULL,
    key_id uuid NOT NULL,
    account_id uuid,
    mode text NOT NULL,
    scopes text[] NOT NULL,
    label text,
    prefix text NOT NULL,
    created_at timestamp(3) with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
    expires_at timestamp(3) with time zone,
    revoked_at timestamp(3) with time zone,
    CONSTRAINT digest_is_sha256 CHECK ((octet_length(key_sha256) = 32)),
    CONSTRAINT label_is_short CHECK ((char_length(label) <= 200)),
    CONSTRAINT mode_is_known CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text, 'admin'::text]))),
    CONSTRAINT only_admin_keys_lack_an_account CHECK (((mode = 'admin'::text) = (account_id IS NULL))),
    CONSTRAINT prefix_is_short CHECK ((char_length(prefix) <= 24))
);

CREATE TABLE public.audit_log (
    audit_id uuid NOT NULL,
    at timestamp(3) with time zone NOT NULL,
    actor text NOT NULL,
    remote_addr text,
    request_id text,
    action text NOT NULL,
    target text,
    account_id uuid,
    request jsonb NOT NULL,
    result text NOT NULL,
    detail jsonb NOT NULL
);

CREATE TABLE public.flags (
    account_id uuid NOT NULL,
    flag_id uuid NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL COLLATE pg_catalog."C",
    payment_id text COLLATE pg_catalog."C",
    order_id text COLLATE pg_catalog."C",
    state text NOT NULL,
    fingerprints text[] NOT NULL,
    evidence jsonb NOT NULL,
    opened_at timestamp(3) with time zone NOT NULL,
    last_seen_at timestamp(3) with time zone NOT NULL,
    times_seen integer DEFAULT 1 NOT NULL,
    resolution text,
    reason text,
    reference text,
    resolved_at timestamp(3) with time zone,
    resolved_by text,
    CONSTRAINT credits_name_their_reference CHECK (((resolution <> 'credited'::text) OR (reference IS NOT NULL))),
    CONSTRAINT kind_is_known CHECK ((kind = ANY (ARRAY['late_payment'::text, 'failed_with_money'::text, 'reversed_after_paid'::text, 'overpaid'::text, 'order_mismatch'::text, 'amount_mismatch'::text, 'wrong_asset'::text, 'redeposit'::text, 'payment_adopted'::text, 'unmatched'::text, 'unknown_status'::text, 'provider_mismatch'::text, 'stuck'::text]))),
    CONSTRAINT reason_is_short CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 2000))),
    CONSTRAINT reference_is_short CHECK (((char_length(reference) >= 1) AND (char_length(reference) <= 200))),
    CONSTRAINT resolution_is_known CHECK ((resolution = ANY (ARRAY['honour'::text, 'credited'::text, 'dismissed'::text]))),
    CONSTRAINT resolved_says_how CHECK (((state = 'resolved'::text) = ((resolution IS NOT NULL) AND (reason IS NOT NULL) AND (resolved_at IS NOT NULL) AND (resolved_by IS NOT NULL)))),
    CONSTRAINT state_is_known CHECK ((state = ANY (ARRAY['open'::text, 'resolved'::text])))
);

CREATE TABLE public.idempotency_keys (
    account_id uuid NOT NULL,
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    order_id text NOT NULL COLLATE pg_catalog."C",
    fingerprint jsonb NOT NULL,
    created_at timestamp(3) with time zone NOT NULL,
    CONSTRAINT key_is_bounded CHECK (((char_length(idempotency_key) >= 1) AND (char_length(idempotency_key) <= 255)))
);

CREATE TABLE public.idempotency_replays (
    account_id uuid NOT NULL,
    replay_id uuid NOT NULL,
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    order_id text NOT NULL COLLATE pg_catalog."C",
    differing_fields text[] NOT NULL,
    answered boolean NOT NULL,
    at timestamp(3) with time zone NOT NULL
);

CREATE TABLE public.notifications (
    notification_id uuid NOT NULL,
    via text NOT NULL,
    digest bytea NOT NULL,
    body bytea NOT NULL,
    matched_form text,
    payment_id text COLLATE pg_catalog."C",
    payment_status text,
    claimed_order_id text,
    account_id uuid,
    order_id text COLLATE pg_catalog."C",
    actor text,
    reason text,
    verdict text DEFAULT 'received'::text NOT NULL,
    why text,
    received_at timestamp(3) with time zone NOT NULL,
    last_seen_at timestamp(3) with time zone NOT NULL,
    times_seen bigint DEFAULT 1 NOT NULL,
    settled_at timestamp(3) with time zone,
    try_at timestamp(3) with time zone,
    tries integer DEFAULT 0 NOT NULL,
    CONSTRAINT body_is_bounded CHECK ((octet_length(body) <= 262144)),
    CONSTRAINT digest_is_sha256 CHECK ((octet_length(digest) = 32)),
    CONSTRAINT form_is_known CHECK ((matched_form = ANY (ARRAY['raw'::text, 'canonical'::text]))),
    CONSTRAINT open_ones_are_tried CHECK (((verdict = ANY (ARRAY['received'::text, 'waiting'::text])) = (try_at IS NOT NULL))),
    CONSTRAINT signed_when_an_ipn CHECK (((via = 'ipn'::text) = (matched_form IS NOT NULL))),
    CONSTRAINT verdict_is_known CHECK ((verdict = ANY (ARRAY['received'::text, 'waiting'::text, 'applied'::text, 'no_change'::text, 'flagged'::text, 'superseded'::text, 'unknown_status'::text, 'unmatched'::text, 'malformed'::text]))),
    CONSTRAINT via_is_known CHECK ((via = ANY (ARRAY['ipn'::text, 'poll'::text, 'operator'::text])))
);

CREATE TABLE public.operator_sessions (
    token_sha256 bytea NOT NULL,
    session_id uuid NOT NULL,
    operator_id uuid NOT NULL,
    created_at timestamp(3) with time zone NOT NULL,
    last_seen_at timestamp(3) with time zone NOT NULL,
    expires_at timestamp(3) with time zone NOT NULL,
    revoked_at timestamp(3) with time zone,
    remote_addr text,
    user_agent text,
    CONSTRAINT address_is_short CHECK ((char_length(remote_addr) <= 100)),
    CONSTRAINT digest_is_sha256 CHECK ((octet_length(token_sha256) = 32)),
    CONSTRAINT sessions_end CHECK ((expires_at > created_at)),
    CONSTRAINT user_agent_is_short CHECK ((char_length(user_agent) <= 200))
);

CREATE TABLE public.operators (
    operator_id uuid NOT NULL,
    email text NOT NULL COLLATE pg_catalog."C",
    name text,
    role text NOT NULL,
    password_hash text NOT NULL,
    totp_sealed bytea,
    totp_last_step bigint,
    created_at timestamp(3) with time zone NOT NULL,
    password_changed_at timestamp(3) with time zone NOT NULL,
    disabled_at timestamp(3) with time zone,
    CONSTRAINT codes_need_a_secret CHECK (((totp_last_step IS NULL) OR (totp_sealed IS NOT NULL))),
    CONSTRAINT email_is_normal CHECK ((((char_length(email) >= 3) AND (char_length(email) <= 190)) AND (email = lower(email)) AND (strpos(email, '@'::text) > 1))),
    CONSTRAINT name_is_short CHECK (((char_length(name) >= 1) AND (char_length(name) <= 100))),
    CONSTRAINT password_is_hashed CHECK (((password_hash ~~ '$argon2id$%'::text) AND (char_length(password_hash) <= 300))),
    CONSTRAINT role_is_known CHECK ((role = ANY (ARRAY['viewer'::text, 'support'::text, 'admin'::text])))
);

CREATE TABLE public.order_deltas (
    delta_id uuid NOT NULL,
    created_on date NOT NULL,
    status text NOT NULL,
    product text NOT NULL,
    price_currency text NOT NULL,
    orders integer NOT NULL,
    price_cents bigint NOT NULL,
    paid_ms bigint NOT NULL
);

CREATE TABLE public.order_events (
    account_id uuid NOT NULL,
    order_id text NOT NULL COLLATE pg_catalog."C",
    seq integer NOT NULL,
    status text NOT NULL,
    source text NOT NULL,
    via text,
    actor text,
    at timestamp(3) with time zone NOT NULL,
    detail jsonb NOT NULL,
    CONSTRAINT actor_is_short CHECK ((char_length(actor) <= 200)),
    CONSTRAINT create_comes_first CHECK (((source = 'create'::text) = (seq = 1))),
    CONSTRAINT facts_say_their_way CHECK (((source = 'ipn'::text) = (via IS NOT NULL))),
    CONSTRAINT operators_are_named CHECK (((via <> 'operator'::text) OR ((actor IS NOT NULL) AND (detail ? 'reason'::text)))),
    CONSTRAINT seq_starts_at_one CHECK ((seq >= 1)),
    CONSTRAINT source_is_known CHECK ((source = ANY (ARRAY['create'::text, 'ipn'::text, 'cancel'::text, 'expired'::text, 'swept'::text]))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['pending'::text, 'confirming'::text, 'partial'::text, 'paid'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT via_is_known CHECK ((via = ANY (ARRAY['ipn'::text, 'poll'::text, 'operator'::text])))
);

CREATE TABLE public.order_grand_totals (
    status text NOT NULL,
    product text NOT NULL,
    price_currency text NOT NULL,
    orders bigint NOT NULL,
    price_cents bigint NOT NULL,
    paid_ms bigint NOT NULL
);

CREATE TABLE public.order_routes (
    order_id text NOT NULL COLLATE pg_catalog."C",
    account_id uuid NOT NULL
);

CREATE TABLE public.order_totals (
    created_on date NOT NULL,
    status text NOT NULL,
    product text NOT NULL,
    price_currency text NOT NULL,
    orders bigint NOT NULL,
    price_cents bigint NOT NULL,
    paid_ms bigint NOT NULL
);

CREATE TABLE public.orders (
    account_id uuid NOT NULL,
    order_id text NOT NULL COLLATE pg_catalog."C",
    product text NOT NULL,
    price_cents bigint NOT NULL,
    price_currency text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    payment_id text COLLATE pg_catalog."C",
    customer_note text,
    internal_note text,
    pay_currency text,
    payment_currency text,
    payment_amount numeric,
    payment_paid numeric,
    window_ends_at timestamp(3) with time zone NOT NULL,
    created_at timestamp(3) with time zone NOT NULL,
    updated_at timestamp(3) with time zone NOT NULL,
    paid_at timestamp(3) with time zone,
    mint_due_at timestamp(3) with time zone,
    looked_at timestamp(3) with time zone,
    search text GENERATED ALWAYS AS (public.search_form(((order_id || ' '::text) || COALESCE(customer_note, ''::text)))) STORED NOT NULL,
    CONSTRAINT currency_is_iso CHECK ((price_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT customer_note_is_short CHECK (((char_length(customer_note) >= 1) AND (char_length(customer_note) <= 500))),
    CONSTRAINT internal_note_is_short CHECK (((char_length(internal_note) >= 1) AND (char_length(internal_note) <= 2000))),
    CONSTRAINT order_id_is_ours CHECK ((order_id ~ '^ord_[0-9a-hjkmnp-tv-z]{26}$'::text)),
    CONSTRAINT paid_has_evidence CHECK ((((status = 'paid'::text) = (paid_at IS NOT NULL)) AND ((status <> 'paid'::text) OR (payment_id IS NOT NULL)))),
    CONSTRAINT price_is_sane CHECK (((price_cents >= 1) AND (price_cents <= '100000000000'::bigint))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['pending'::text, 'confirming'::text, 'partial'::text, 'paid'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT version_is_last_seq CHECK ((version >= 1))
);

CREATE TABLE public.payment_routes (
    payment_id text NOT NULL COLLATE pg_catalog."C",
    account_id uuid NOT NULL,
    order_id text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE public.payments (
    account_id uuid NOT NULL,
    order_id text NOT NULL COLLATE pg_catalog."C",
    payment_id text NOT NULL COLLATE pg_catalog."C",
    parent_payment_id text COLLATE pg_catalog."C",
    origin text NOT NULL,
    pay_address text,
    pay_currency text,
    pay_amount numeric,
    payin_extra_id text,
    network text,
    provider_status text NOT NULL,
    best_rank smallint NOT NULL,
    money_seen boolean NOT NULL,
    actually_paid numeric,
    actually_paid_at_fiat numeric,
    outcome_amount numeric,
    outcome_currency text,
    payin_hash text,
    payout_hash text,
    valid_until timestamp(3) with time zone NOT NULL,
    created_at timestamp(3) with time zone NOT NULL,
    changed_at timestamp(3) with time zone NOT NULL,
    snapshot jsonb,
    snapshot_at timestamp(3) with time zone,
    asked_at timestamp(3) with time zone,
    ask_at timestamp(3) with time zone,
    ask_lease_until timestamp(3) with time zone,
    ask_attempt integer DEFAULT 0 NOT NULL,
    CONSTRAINT children_have_parents CHECK (((origin = 'child'::text) = (parent_payment_id IS NOT NULL))),
    CONSTRAINT origin_is_known CHECK ((origin = ANY (ARRAY['minted'::text, 'mismatched'::text, 'adopted'::text, 'child'::text]))),
    CONSTRAINT payment_id_is_short CHECK (((char_length(payment_id) >= 1) AND (char_length(payment_id) <= 128)))
);

CREATE TABLE public.products (
    product text NOT NULL,
    price_cents bigint NOT NULL,
    price_currency text NOT NULL,
    active boolean DEFAULT true NOT NULL,
    updated_at timestamp(3) with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
    CONSTRAINT currency_is_iso CHECK ((price_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT price_is_sane CHECK (((price_cents >= 1) AND (price_cents <= '100000000000'::bigint))),
    CONSTRAINT product_is_a_slug CHECK ((product ~ '^[a-z0-9][a-z0-9_.-]{0,63}$'::text))
);

CREATE TABLE public.provider_attempts (
    account_id uuid NOT NULL,
    order_id text NOT NULL COLLATE pg_catalog."C",
    attempt_no integer NOT NULL,
    pay_currency text NOT NULL,
    state text NOT NULL,
    reason text,
    payment_id text COLLATE pg_catalog."C",
    started_at timestamp(3) with time zone NOT NULL,
    settled_at timestamp(3) with time zone,
    CONSTRAINT attempts_count_from_one CHECK ((attempt_no >= 1)),
    CONSTRAINT reason_is_short CHECK ((char_length(reason) <= 500)),
    CONSTRAINT settled_when_not_in_flight CHECK (((state = 'sent'::text) = (settled_at IS NULL))),
    CONSTRAINT state_is_known CHECK ((state = ANY (ARRAY['sent'::text, 'minted'::text, 'mismatched'::text, 'refused'::text, 'not_made'::text, 'unknown'::text])))
);

CREATE TABLE public.rate_buckets (
    bucket_key text NOT NULL,
    tokens double precision NOT NULL,
    updated_at timestamp with time zone NOT NULL
);

CREATE TABLE public.rate_overrides (
    key_id uuid NOT NULL,
    capacity integer NOT NULL,
    refill_per_second double precision NOT NULL,
    expires_at timestamp(3) with time zone,
    CONSTRAINT capacity_is_sane CHECK (((capacity >= 0) AND (capacity <= 1000000))),
    CONSTRAINT refill_is_sane CHECK ((refill_per_second > (0)::double precision))
);

CREATE TABLE public.webhook_attempts (
    account_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    attempt_no integer NOT NULL,
    started_at timestamp(3) with time zone NOT NULL,
    elapsed_ms integer,
    status integer,
    error text,
    excerpt text,
    dialled_ip inet,
    CONSTRAINT attempts_count_from_one CHECK ((attempt_no >= 1)),
    CONSTRAINT error_is_short CHECK ((char_length(error) <= 500)),
    CONSTRAINT excerpt_is_short CHECK ((char_length(excerpt) <= 512))
)
WITH (fillfactor='50');

CREATE TABLE public.webhook_deliveries (
    account_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    status text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    attempt_no integer DEFAULT 0 NOT NULL,
    due_at timestamp(3) with time zone,
    last_attempt_at timestamp(3) with time zone,
    last_response_status integer,
    last_response_excerpt text,
    last_error text,
    delivered_at timestamp(3) with time zone,
    replayed_at timestamp(3) with time zone,
    created_at timestamp(3) with time zone NOT NULL,
    CONSTRAINT attempts_are_counted CHECK (((attempts >= 0) AND (attempts <= attempt_no))),
    CONSTRAINT delivered_says_when CHECK (((status = 'delivered'::text) = (delivered_at IS NOT NULL))),
    CONSTRAINT ended_ones_are_not_due CHECK (((status <> ALL (ARRAY['delivered'::text, 'dlq'::text])) OR (due_at IS NULL))),
    CONSTRAINT error_is_short CHECK ((char_length(last_error) <= 500)),
    CONSTRAINT excerpt_is_short CHECK ((char_length(last_response_excerpt) <= 512)),
    CONSTRAINT flights_have_a_lease CHECK (((status <> 'in_flight'::text) OR ((due_at IS NOT NULL) AND (last_attempt_at IS NOT NULL)))),
    CONSTRAINT status_is_known CHECK ((status = ANY (ARRAY['pending'::text, 'in_flight'::text, 'delivered'::text, 'failed'::text, 'dlq'::text])))
);

CREATE TABLE public.webhook_endpoints (
    account_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    description text,
    active boolean DEFAULT true NOT NULL,
    secret_prefix text NOT NULL,
    secret_sealed bytea NOT NULL,
    prev_secret_prefix text,
    prev_secret_sealed bytea,
    grace_expires_at timestamp(3) with time zone,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    last_success_at timestamp(3) with time zone,
    last_failure_at timestamp(3) with time zone,
    disabled_at timestamp(3) with time zone,
    disabled_reason text,
    deleted_at timestamp(3) with time zone,
    created_at timestamp(3) with time zone NOT NULL,
    failing boolean GENERATED ALWAYS AS (((deleted_at IS NULL) AND ((disabled_at IS NOT NULL) OR (consecutive_failures > 0) OR (active AND (last_failure_at IS NOT NULL) AND ((last_success_at IS NULL) OR (last_failure_at > last_success_at)))))) STORED NOT NULL,
    CONSTRAINT description_is_short CHECK (((char_length(description) >= 1) AND (char_length(description) <= 200))),
    CONSTRAINT disabled_and_deleted_are_inactive CHECK (((NOT active) OR ((disabled_at IS NULL) AND (deleted_at IS NULL)))),
    CONSTRAINT disabled_says_why CHECK (((disabled_at IS NULL) = (disabled_reason IS NULL))),
    CONSTRAINT events_are_subscribable CHECK ((((cardinality(events) >= 1) AND (cardinality(events) <= 10)) AND (events <@ ARRAY['crypto.order.paid'::text, 'crypto.order.failed'::text]))),
    CONSTRAINT failures_are_counted CHECK ((consecutive_failures >= 0)),
    CONSTRAINT previous_secrets_have_a_grace CHECK ((((prev_secret_sealed IS NULL) = (grace_expires_at IS NULL)) AND ((prev_secret_sealed IS NULL) = (prev_secret_prefix IS NULL)))),
    CONSTRAINT url_is_short CHECK (((char_length(url) >= 1) AND (char_length(url) <= 2048)))
);

CREATE TABLE public.webhook_events (
    account_id uuid NOT NULL,
    event_id uuid NOT NULL,
    order_id text COLLATE pg_catalog."C",
    event_type text NOT NULL,
    body bytea NOT NULL,
    created_at timestamp(3) with time zone NOT NULL,
    fan_out_at timestamp(3) with time zone,
    CONSTRAINT order_events_have_orders CHECK (((event_type = 'test.ping'::text) = (order_id IS NULL))),
    CONSTRAINT type_is_known CHECK ((event_type = ANY (ARRAY['crypto.order.paid'::text, 'crypto.order.failed'::text, 'test.ping'::text])))
);

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_key_id_key UNIQUE (key_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (key_sha256);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (audit_id);

ALTER TABLE ONLY public.flags
    ADD CONSTRAINT flags_pkey PRIMARY KEY (account_id, flag_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, idempotency_key);

ALTER TABLE ONLY public.idempotency_replays
    ADD CONSTRAINT idempotency_replays_pkey PRIMARY KEY (account_id, replay_id);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (notification_id);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_via_digest_key UNIQUE (via, digest);

ALTER TABLE ONLY public.operator_sessions
    ADD CONSTRAINT operator_sessions_pkey PRIMARY KEY (token_sha256);

ALTER TABLE ONLY public.operator_sessions
    ADD CONSTRAINT operator_sessions_session_id_key UNIQUE (session_id);

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_email_key UNIQUE (email);

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_pkey PRIMARY KEY (operator_id);

ALTER TABLE ONLY public.order_deltas
    ADD CONSTRAINT order_deltas_pkey PRIMARY KEY (delta_id);

ALTER TABLE ONLY public.order_events
    ADD CONSTRAINT order_events_pkey PRIMARY KEY (account_id, order_id, seq);

ALTER TABLE ONLY public.order_grand_totals
    ADD CONSTRAINT order_grand_totals_pkey PRIMARY KEY (status, product, price_currency);

ALTER TABLE ONLY public.order_routes
    ADD CONSTRAINT order_routes_pkey PRIMARY KEY (order_id);

ALTER TABLE ONLY public.order_totals
    ADD CONSTRAINT order_totals_pkey PRIMARY KEY (created_on, status, product, price_currency);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (account_id, order_id);

ALTER TABLE ONLY public.payment_routes
    ADD CONSTRAINT payment_routes_pkey PRIMARY KEY (payment_id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (account_id, payment_id);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (product);

ALTER TABLE ONLY public.provider_attempts
    ADD CONSTRAINT provider_attempts_pkey PRIMARY KEY (account_id, order_id, attempt_no);

ALTER TABLE ONLY public.rate_buckets
    ADD CONSTRAINT rate_buckets_pkey PRIMARY KEY (bucket_key);

ALTER TABLE ONLY public.rate_overrides
    ADD CONSTRAINT rate_overrides_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY public.webhook_attempts
    ADD CONSTRAINT webhook_attempts_pkey PRIMARY KEY (account_id, delivery_id, attempt_no);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_account_id_event_id_endpoint_id_key UNIQUE (account_id, event_id, endpoint_id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (account_id, delivery_id);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (account_id, endpoint_id);

ALTER TABLE ONLY public.webhook_events
    ADD CONSTRAINT webhook_events_account_id_order_id_event_type_key UNIQUE (account_id, order_id, event_type);

ALTER TABLE ONLY public.webhook_events
    ADD CONSTRAINT webhook_events_pkey PRIMARY KEY (account_id, event_id);

CREATE INDEX accounts_by_name ON public.accounts USING gin (public.search_form(name) public.gin_trgm_ops);

CREATE INDEX accounts_newest ON public.accounts USING btree (created_at, account_id);

CREATE INDEX api_keys_of_account ON public.api_keys USING btree (account_id, created_at, key_id);

CREATE INDEX audit_log_newest ON public.audit_log USING btree (at, audit_id);

CREATE INDEX audit_log_of_action ON public.audit_log USING btree (action, at, audit_id);

CREATE INDEX audit_log_of_actor ON public.audit_log USING btree (actor, at, audit_id);

CREATE INDEX audit_log_of_target ON public.audit_log USING btree (target, at, audit_id);

CREATE INDEX flags_by_age ON public.flags USING btree (state, opened_at, flag_id);

CREATE INDEX flags_by_id ON public.flags USING btree (flag_id);

CREATE INDEX flags_by_kind ON public.flags USING btree (kind, state, opened_at, flag_id);

CREATE INDEX flags_by_subject ON public.flags USING btree (account_id, kind, subject);

CREATE INDEX flags_of_order ON public.flags USING btree (account_id, order_id);

CREATE UNIQUE INDEX flags_one_open ON public.flags USING btree (account_id, kind, subject) WHERE (state = 'open'::text);

CREATE INDEX idempotency_keys_by_time ON public.idempotency_keys USING btree (created_at, account_id);

CREATE INDEX idempotency_replays_by_time ON public.idempotency_replays USING btree (at, account_id);

CREATE INDEX notifications_by_verdict ON public.notifications USING btree (verdict, received_at, notification_id) WHERE (verdict = ANY (ARRAY['waiting'::text, 'flagged'::text, 'superseded'::text, 'unknown_status'::text, 'unmatched'::text, 'malformed'::text]));

CREATE INDEX notifications_claims ON public.notifications USING btree (claimed_order_id) WHERE ((try_at IS NOT NULL) AND (claimed_order_id IS NOT NULL));

CREATE INDEX notifications_newest ON public.notifications USING btree (received_at, notification_id);

CREATE INDEX notifications_of_order ON public.notifications USING btree (order_id, received_at, notification_id) WHERE (order_id IS NOT NULL);

CREATE INDEX notifications_of_payment ON public.notifications USING btree (payment_id, received_at, notification_id);

CREATE INDEX notifications_to_try ON public.notifications USING btree (try_at) WHERE (try_at IS NOT NULL);

CREATE INDEX operator_sessions_of_operator ON public.operator_sessions USING btree (operator_id, created_at, session_id);

CREATE INDEX operators_newest ON public.operators USING btree (created_at, operator_id);

CREATE INDEX orders_by_product ON public.orders USING btree (product, created_at, order_id);

CREATE INDEX orders_by_status ON public.orders USING btree (status, created_at, order_id);

CREATE INDEX orders_newest ON public.orders USING btree (created_at, order_id);

CREATE INDEX orders_of_account ON public.orders USING btree (account_id, created_at, order_id);

CREATE INDEX orders_open ON public.orders USING btree (account_id) WHERE (status = 'pending'::text);

CREATE INDEX orders_search ON public.orders USING gin (search public.gin_trgm_ops) WITH (fastupdate='on');

CREATE INDEX orders_to_mint ON public.orders USING btree (mint_due_at) WHERE (mint_due_at IS NOT NULL);

CREATE INDEX payments_of_order ON public.payments USING btree (account_id, order_id, created_at);

CREATE INDEX payments_to_ask ON public.payments USING btree (ask_at) WHERE (ask_at IS NOT NULL);

CREATE INDEX webhook_deliveries_by_id ON public.webhook_deliveries USING btree (delivery_id);

CREATE INDEX webhook_deliveries_by_status ON public.webhook_deliveries USING btree (account_id, endpoint_id, status, created_at, delivery_id);

CREATE INDEX webhook_deliveries_dead ON public.webhook_deliveries USING btree (created_at, delivery_id) WHERE (status = 'dlq'::text);

CREATE INDEX webhook_deliveries_due ON public.webhook_deliveries USING btree (account_id, endpoint_id, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX webhook_endpoints_by_id ON public.webhook_endpoints USING btree (endpoint_id);

CREATE INDEX webhook_endpoints_failing ON public.webhook_endpoints USING btree (created_at, endpoint_id) WHERE failing;

CREATE INDEX webhook_endpoints_newest ON public.webhook_endpoints USING btree (created_at, endpoint_id);

CREATE INDEX webhook_endpoints_of_account ON public.webhook_endpoints USING btree (account_id, created_at, endpoint_id);

CREATE INDEX webhook_events_to_fan_out ON public.webhook_events USING btree (fan_out_at) WHERE (fan_out_at IS NOT NULL);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(account_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(account_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES public.orders(account_id, order_id);

ALTER TABLE ONLY public.idempotency_replays
    ADD CONSTRAINT idempotency_replays_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(account_id);

ALTER TABLE ONLY public.operator_sessions
    ADD CONSTRAINT operator_sessions_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES public.operators(operator_id);

ALTER TABLE ONLY public.order_events
    ADD CONSTRAINT order_events_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES public.orders(account_id, order_id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(account_id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES public.orders(account_id, order_id);

ALTER TABLE ONLY public.provider_attempts
    ADD CONSTRAINT provider_attempts_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES public.orders(account_id, order_id);

ALTER TABLE ONLY public.rate_overrides
    ADD CONSTRAINT rate_overrides_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.api_keys(key_id);

ALTER TABLE ONLY public.webhook_attempts
    ADD CONSTRAINT webhook_attempts_account_id_delivery_id_fkey FOREIGN KEY (account_id, delivery_id) REFERENCES public.webhook_deliveries(account_id, delivery_id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_account_id_endpoint_id_fkey FOREIGN KEY (account_id, endpoint_id) REFERENCES public.webhook_endpoints(account_id, endpoint_id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_account_id_event_id_fkey FOREIGN KEY (account_id, event_id) REFERENCES public.webhook_events(account_id, event_id);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts(account_id);

ALTER TABLE ONLY public.webhook_events
    ADD CONSTRAINT webhook_events_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES public.orders(account_id, order_id);
